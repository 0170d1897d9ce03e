"""A toy model whose logits at every position depend on every id, and noise that two loops can share."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Query

VOCABULARY = 9
MASK_ID = 8
FORBIDDEN_IDS = (6, 7)


class ToyModel:
    """Random logits seeded by a hash of the whole sequence; records what it was asked.

    Args:
        seed: another seed is another model.
        levels: if given, logits are rounded to this many values, so that confidences tie often.
    """

    def __init__(self, seed: int = 0, levels: int | None = None) -> None:
        self.seed, self.levels = seed, levels
        self.calls: list[list[Query]] = []

    def full_logits(self, ids: Tensor, sample: int) -> Tensor:
        """Logits (L, V); the sample's number plays the part of its image, so it counts only with a placeholder."""
        visual = sample if bool((ids == IMAGE_PLACEHOLDER_ID).any()) else None
        key = zlib.crc32(repr((self.seed, visual, ids.tolist())).encode())
        logits = 3 * torch.randn(len(ids), VOCABULARY, generator=torch.Generator().manual_seed(key))
        if self.levels is not None:
            logits = (logits * self.levels / 9).round().clamp(-self.levels, self.levels)
        return logits

    def bound(self, sample: int) -> Callable[[Tensor], Tensor]:
        """The model as the plain sampler sees it."""
        return lambda ids: self.full_logits(ids, sample)

    def renamed(self, names: Sequence[int]) -> Callable[[Sequence[Query]], list[Tensor]]:
        """A ``Denoise`` for a batch in which row i is the sample ``names[i]``."""

        def denoise(queries: Sequence[Query]) -> list[Tensor]:
            self.calls.append(list(queries))
            return [self.full_logits(query.token_ids, names[query.sample])[query.positions] for query in queries]

        return denoise


class SharedNoise:
    """Draws for all positions of a sequence and hands out the asked ones, so that every loop sees the same noise."""

    def __init__(self, seed: int, length: int) -> None:
        self.length = length
        self.generator = torch.Generator().manual_seed(seed)

    def token_uniforms(self, positions: Tensor, vocabulary: int) -> Tensor:
        return torch.rand(self.length, vocabulary, dtype=torch.float64, generator=self.generator)[positions]

    def position_uniforms(self, positions: Tensor) -> Tensor:
        return torch.rand(self.length, generator=self.generator)[positions]
