"""The first layer over long prompts, whose attention to themselves doesn't change while the answer is filled.

Only the first layer reads embeddings, and a prompt's embeddings stay as they are. So its attention to itself is
computed at the first step and kept; a later step adds the attention to the answer. Two attentions over parts of the
keys, each with the logarithm of the sum of its weights, make one over all of them (as in FlashAttention, arXiv
2205.14135, section 3.1), so this is exact but for the order of sums.

Used in float32 on the CPU. On a GPU it would save an eighth of one layer of 32, at the price of rounding what is kept
to half precision.

``P`` is the prompt's length, ``A`` that of what follows it, ``D`` the hidden size; there are ``H`` heads of ``K``
dimensions and ``T`` positions in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lladav_eval.model.config import ModelConfig
from lladav_eval.model.kernels import attention, attention_with_sums, uses_fast_kernels

MIN_PROMPT = 512
"""Shorter sequences are faster when all of a batch go through the layer together."""
MAX_BYTES = 1 << 29
"""Most that is kept for the prompts of a batch; where it would be more, nothing is."""


@dataclass(frozen=True)
class PromptStates:
    """What is kept of one sequence."""

    mixed: Tensor
    """(1, H, P, K): the prompt's attention to itself."""
    log_sums: Tensor
    """(1, H, P, 1): logarithm of the sum of its weights."""


class FirstLayer:
    """Runs the first layer for the sequences of one batch, each known by a number."""

    def __init__(self) -> None:
        self.kept: dict[int, PromptStates] = {}

    @staticmethod
    def suits(weight: Tensor, prompts: Sequence[int], config: ModelConfig) -> bool:
        """Whether keeping pays for prompts of these lengths; ``weight`` tells device and number type."""
        if not uses_fast_kernels(weight) or min(prompts, default=0) < MIN_PROMPT:
            return False
        return weight.element_size() * config.hidden_size * sum(prompts) <= MAX_BYTES

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, sequences: Sequence[tuple[int, int, int]]) -> Tensor:
        """The layer's attention, in the place of ``q``; ``sequences`` are (number, P, P + A) as they are packed."""
        start = 0
        for name, prompt, length in sequences:
            self._mix(name, prompt, *(rows[start : start + length].transpose(0, 1)[None] for rows in (q, k, v)))
            start += length
        return q

    def _mix(self, name: int, prompt: int, q: Tensor, k: Tensor, v: Tensor) -> None:
        """Attention of one whole sequence, (1, heads, P + A, K) each, which takes its queries' place."""
        (of_prompt, of_answer), keys, values = (tensor.tensor_split([prompt], dim=2) for tensor in (q, k, v))
        if name not in self.kept:
            self.kept[name] = PromptStates(*attention_with_sums(of_prompt, keys[0], values[0]))
        kept, (to_answer, log_sums) = self.kept[name], attention_with_sums(of_prompt, keys[1], values[1])
        of_prompt.copy_(to_answer.lerp_(kept.mixed, torch.sigmoid(kept.log_sums - log_sums)))
        of_answer.copy_(attention(of_answer, k, v))
