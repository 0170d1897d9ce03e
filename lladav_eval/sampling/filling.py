"""Which of the offered positions a step fills, and how many steps a block gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lladav_eval.approximate import Prophet, parse_early_commit
from lladav_eval.records import SamplingParams
from lladav_eval.sampling.confidence import select
from lladav_eval.sampling.schedule import transfer_counts


@dataclass(frozen=True)
class Offer:
    """What the model offers one sample at one step, over the ``n`` positions that were asked about."""

    positions: Tensor
    """(n,) int64, ascending."""
    confidences: Tensor
    """(n,); -inf where nothing should be filled."""
    gaps: Tensor | None
    """(n,) between the two highest logits; None unless the rule looks at gaps."""
    length: int
    """Of the whole sequence."""
    count: int
    """Positions the schedule gives to this step."""
    progress: float
    """Share of the block's steps that are done, 0 at its first."""


class Filling(Protocol):
    """A rule of the loop; no state, so samples can't influence each other."""

    @property
    def looks_at_gaps(self) -> bool:
        """Whether ``pick`` needs gaps."""
        ...

    def counts(self, masked: int, steps: int) -> list[int]:
        """Positions for each step of a block with ``masked`` masks; the block also ends when it has none left."""
        ...

    def pick(self, offer: Offer) -> Tensor:
        """Indices into ``offer.positions`` to fill, ascending."""
        ...


def filling_rule(params: SamplingParams) -> Filling:
    """The rule that ``params`` ask for."""
    rule: Filling = Scheduled() if params.threshold is None else Threshold(params.threshold)
    return rule if params.early_commit is None else EarlyCommit(rule, parse_early_commit(params.early_commit))


@dataclass(frozen=True)
class Scheduled:
    """Exact: the most confident positions, as many as the schedule says."""

    looks_at_gaps: bool = False

    def counts(self, masked: int, steps: int) -> list[int]:
        return transfer_counts(masked, steps)

    def pick(self, offer: Offer) -> Tensor:
        return select(offer.positions, offer.confidences, offer.length, offer.count)


@dataclass(frozen=True)
class Threshold:
    """All positions of at least ``threshold`` probability, but at least the most confident one; any number of steps.

    Source: confidence-aware parallel decoding of Fast-dLLM (arXiv 2505.22618, section 3.3).
    """

    threshold: float
    looks_at_gaps: bool = False

    def counts(self, masked: int, steps: int) -> list[int]:
        return [1] * masked

    def pick(self, offer: Offer) -> Tensor:
        picked = offer.confidences >= self.threshold
        picked[select(offer.positions, offer.confidences, offer.length, 1)] = True
        return picked.nonzero().squeeze(1)


@dataclass(frozen=True)
class EarlyCommit:
    """Everything that may be filled, once the mean gap between the two highest logits is wide enough; else ``rule``.

    What is wide enough falls from third to third of the block's steps. The mean is over the positions still open.

    Source: Prophet (arXiv 2508.19982, section 4).
    """

    rule: Filling
    settings: Prophet
    looks_at_gaps: bool = True

    def counts(self, masked: int, steps: int) -> list[int]:
        return self.rule.counts(masked, steps)

    def pick(self, offer: Offer) -> Tensor:
        if offer.gaps is None:
            raise ValueError("early commit needs gaps")
        fillable = offer.confidences > -torch.inf
        thirds = (self.settings.early, self.settings.middle, self.settings.late)
        needed = thirds[min(int(3 * offer.progress), 2)]
        if fillable.any() and float(offer.gaps[fillable].mean()) >= needed:
            return fillable.nonzero().squeeze(1)
        return self.rule.pick(offer)
