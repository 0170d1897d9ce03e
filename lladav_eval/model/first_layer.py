"""The first layer over long prompts, whose states there don't change while the answer is filled.

Only the first layer reads embeddings, and a prompt's embeddings stay as they are. So its queries, keys and values, and
its attention to itself, are computed at the first step and kept; a later step adds the attention to the answer. Two
attentions over parts of the keys, each with the logarithm of the sum of its weights, make one over all of them (as in
FlashAttention, arXiv 2205.14135, section 3.1), so this is exact but for the order of sums.

Used in float32 on the CPU. On a GPU it would save a third of one layer of 32, at the price of rounding what is kept to
half precision.

``P`` is the prompt's length, ``A`` that of what follows it, ``D`` the hidden size; ``H`` heads and ``G`` key heads of
``K`` dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lladav_eval.model.config import ModelConfig
from lladav_eval.model.kernels import attention, attention_with_sums, uses_fast_kernels
from lladav_eval.model.language import HEADS_FIRST, Layer, empty_ordered

MIN_PROMPT = 512
"""Shorter sequences are faster when all of a batch go through the layer together."""
MAX_BYTES = 1 << 29
"""Most that is kept for the prompts of a batch; where it would be more, nothing is."""


@dataclass(frozen=True)
class PromptStates:
    """What is kept of one sequence."""

    queries: Tensor
    """(1, H, P, K), rotated."""
    keys: Tensor
    """(1, G, P + A, K), rotated; what lies behind the prompt is written anew at every step."""
    values: Tensor
    """(1, G, P + A, K), likewise."""
    mixed: Tensor
    """(1, H, P, K): the prompt's attention to itself."""
    log_sums: Tensor
    """(1, H, P, 1): logarithm of the sum of its weights."""

    @classmethod
    def compute(cls, projected: tuple[Tensor, Tensor, Tensor], prompt: int) -> PromptStates:
        """From queries, keys and values of the whole sequence."""
        queries, keys, values = projected
        queries = queries[:, :, :prompt]
        mixed, log_sums = attention_with_sums(queries, keys[:, :, :prompt], values[:, :, :prompt])
        return cls(queries, keys, values, mixed, log_sums)

    def mix(self, projected: tuple[Tensor, Tensor, Tensor], out: Tensor) -> None:
        """Fill ``out`` (1, H, P + A, K) with the attention of the whole sequence to the whole sequence.

        ``projected`` are queries, keys and values of what follows the prompt.
        """
        queries, keys, values = projected
        prompt = self.queries.shape[2]
        self.keys[:, :, prompt:] = keys
        self.values[:, :, prompt:] = values
        to_answer, log_sums = attention_with_sums(self.queries, keys, values)
        out[:, :, :prompt] = to_answer.lerp_(self.mixed, torch.sigmoid(self.log_sums - log_sums))
        out[:, :, prompt:] = attention(queries, self.keys, self.values)


class FirstLayer:
    """Runs the first layer for the sequences of one batch, each known by a number."""

    def __init__(self) -> None:
        self.kept: dict[int, PromptStates] = {}

    @staticmethod
    def suits(weight: Tensor, prompts: Sequence[int], lengths: Sequence[int], config: ModelConfig) -> bool:
        """Whether keeping pays for sequences with these prompts; ``weight`` tells device and number type."""
        if config.causal or not uses_fast_kernels(weight) or min(prompts, default=0) < MIN_PROMPT:
            return False
        return 4 * weight.element_size() * config.hidden_size * sum(lengths) <= MAX_BYTES

    def run(
        self, sequences: Sequence[tuple[int, int, int]], layer: Layer, x: Tensor, rotary: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The layer's output (T, D) for packed embeddings ``x``; ``sequences`` are (number, P, P + A)."""
        attention, start = layer.self_attn, 0
        mixed = empty_ordered((len(x), attention.heads, attention.head_size), HEADS_FIRST, x)
        for name, prompt, length in sequences:
            rows, answer = slice(start, start + length), slice(start + prompt, start + length)
            if name not in self.kept:
                self.kept[name] = PromptStates.compute(self._project(layer, x, rotary, rows), prompt)
            out = mixed[rows].transpose(0, 1)[None]
            self.kept[name].mix(self._project(layer, x, rotary, answer), out)
            start += length
        return layer.after_attention(x, mixed)

    @staticmethod
    def _project(layer: Layer, x: Tensor, rotary: tuple[Tensor, Tensor], rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (1, heads, rows, K) of some rows of ``x``."""
        q, k, v = layer.project(x[rows], rotary[0][rows], rotary[1][rows])
        return q.transpose(0, 1)[None], k.transpose(0, 1)[None], v.transpose(0, 1)[None]
