"""What happens between the forward passes of ``generate``: choosing, noticing the end, counting."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from lladav_eval.records import SamplingParams, StopReason

_TAIL = 16
"""Tokens decoded beyond those a stop string can take, as decoding the first few may need their neighbours."""


class Chooser(LogitsProcessor):
    """Adds each sample's own Gumbel noise, which turns the greedy choice into sampling; nothing at temperature 0.

    Neither order nor batch change a draw. Rows whose logits aren't numbers are noted.
    """

    def __init__(self, params: SamplingParams, prompts: Sequence[str]) -> None:
        self.temperature = params.temperature
        self.generators = [torch.Generator().manual_seed(prompt_seed(params.seed, prompt)) for prompt in prompts]
        self.broken: set[int] = set()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(rows, vocabulary) -> the same, noised."""
        self.broken.update(torch.isnan(scores).any(-1).nonzero().flatten().tolist())
        if not self.temperature:
            return scores
        uniform = [torch.rand(scores.shape[-1], generator=own, dtype=torch.float64) for own in self.generators]
        noise = -torch.log(-torch.log(torch.stack(uniform).clamp_min(1e-300)))
        return scores.double() / self.temperature + noise.to(scores.device)


class Watch(StoppingCriteria):
    """Notes when each row ends, why, and after how many forward passes.

    The passes are counted by a hook on the model, not derived: ``count`` is to be registered as one.
    """

    def __init__(
        self,
        rows: int,
        eos_ids: set[int],
        stops: Sequence[str],
        tokenizer: Any,
        chooser: Chooser,
        deadline: float | None = None,
    ) -> None:
        self.eos_ids = eos_ids
        self.stops = tuple(stops)
        self.tokenizer = tokenizer
        self.chooser = chooser
        self.deadline = deadline
        """When, by ``time.perf_counter``, the rows that haven't ended fail."""
        self.late: set[int] = set()
        """Rows that failed so."""
        self.tail = _TAIL + 4 * max((len(stop) for stop in stops), default=0)
        self.passes = 0
        self.used = [0] * rows
        """Forward passes until each row ended."""
        self.length = [0] * rows
        """Tokens each row chose, the end of text included."""
        self.ended: list[StopReason | None] = [None] * rows
        self.first_token: float | None = None
        """When the first token of all rows was known."""

    def count(self, *_: object) -> None:
        """A forward pass begins."""
        self.passes += 1

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Called once a token, with (rows, length) ids, the new token last; True where a row is done."""
        last = input_ids[:, -1].tolist()  # waits for the device
        if self.first_token is None:
            self.first_token = time.perf_counter()
        for row, token in enumerate(last):
            if self.ended[row] is None:
                self.used[row] = self.passes
                self.length[row] += 1
                self.ended[row] = self._reason(row, token, input_ids)
        if self.deadline is not None and time.perf_counter() > self.deadline:
            self.late.update(row for row, reason in enumerate(self.ended) if reason is None)
            self.ended = [reason or "failed" for reason in self.ended]
        done = [reason is not None for reason in self.ended]
        return torch.tensor(done, device=input_ids.device)

    def _reason(self, row: int, token: int, input_ids: Tensor) -> StopReason | None:
        if row in self.chooser.broken:
            return "failed"
        if token in self.eos_ids:
            return "stop"
        if self.stops:
            ids = input_ids[row, -min(self.length[row], self.tail) :].tolist()
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            if any(stop in text for stop in self.stops):
                return "stop"
        return None


def cut(text: str, stops: Sequence[str]) -> str:
    """``text`` up to the stop string that comes first in it."""
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


def prompt_seed(seed: int, prompt: str) -> int:
    """Seed of a sample's own generator, from the run's seed and the prompt."""
    digest = hashlib.blake2b(f"{seed}\0{prompt}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1
