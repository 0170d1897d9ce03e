"""What answers cost, over the samples that were answered: a sample that failed costs nothing and counts for nothing.

What a model doesn't tell is unknown (None), never zero, and a mean is over the samples whose value is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lladav_eval.records import Generation

ADDED = (
    "forward_passes", "prompt_tokens", "output_tokens", "flops", "seconds", "media_seconds", "prefill_seconds",
    "decode_seconds",
)  # fmt: skip
"""Costs that add up; ``lladav_eval.records.Generation`` says what each is."""
PEAK = "peak_memory"
"""A cost of which the largest counts."""
NAMES = (*ADDED, PEAK)

Cost = Mapping[str, float | None]
"""The cost of one answer by NAMES."""


def cost_of(generation: Generation) -> dict[str, float | None]:
    """What one answer cost. No forward passes and no seconds mean that the model doesn't tell."""
    cost: dict[str, float | None] = {name: getattr(generation, name) for name in NAMES}
    return {**cost, "forward_passes": cost["forward_passes"] or None, "seconds": cost["seconds"] or None}


@dataclass(frozen=True)
class CostSummary:
    """What the answers of one task cost."""

    answered: int
    """Samples the model gave an answer to."""
    known: Mapping[str, int]
    """Of how many of them each cost is known."""
    totals: Mapping[str, float]
    """Sums over those; of costs known of none there is no entry."""
    peak_memory: float | None
    """The largest, in bytes."""

    def mean(self, name: str) -> float | None:
        """Per answered sample whose cost is known; None where it is known of none."""
        return self.totals[name] / self.known[name] if name in self.totals else None

    @property
    def seconds_with_media(self) -> float | None:
        """Seconds per sample, decoding and preparing media included; None unless both are known."""
        seconds, media = self.mean("seconds"), self.mean("media_seconds")
        return None if seconds is None or media is None else seconds + media

    def as_json(self) -> dict[str, Any]:
        """For results.json: {"answered": n, name: {"known": n, "total": t, "mean": m} or null, ...}."""
        added = {
            name: {"known": self.known[name], "total": self.totals[name], "mean": self.mean(name)}
            if name in self.totals
            else None
            for name in ADDED
        }
        peak = None if self.peak_memory is None else {"known": self.known[PEAK], "largest": self.peak_memory}
        return {"answered": self.answered, **added, PEAK: peak}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CostSummary:
        """Read back what ``as_json`` gave; may raise KeyError or TypeError on anything else."""
        found = {name: content[name] for name in NAMES if content[name] is not None}
        return cls(
            answered=content["answered"],
            known={name: value["known"] for name, value in found.items()},
            totals={name: value["total"] for name, value in found.items() if name != PEAK},
            peak_memory=found[PEAK]["largest"] if PEAK in found else None,
        )


class CostCounter:
    """Adds costs up, one answered sample at a time."""

    def __init__(self) -> None:
        self._answered = 0
        self._known = dict.fromkeys(NAMES, 0)
        self._totals: dict[str, float] = {}
        self._peak: float | None = None

    def add(self, cost: Cost) -> None:
        """Count one answered sample."""
        self._answered += 1
        for name in NAMES:
            value = cost.get(name)
            if value is None:
                continue
            self._known[name] += 1
            if name == PEAK:
                self._peak = max(value, self._peak or 0)
            else:
                self._totals[name] = self._totals.get(name, 0) + value

    def summary(self) -> CostSummary:
        """What was counted so far."""
        return CostSummary(self._answered, dict(self._known), dict(self._totals), self._peak)
