"""Costs add up over what is known, and what isn't known stays unknown."""

from __future__ import annotations

import json

import pytest

from lladav_eval.records import Generation
from lladav_eval.scoring.cost import ADDED, NAMES, CostCounter, CostSummary, cost_of


def test_what_a_model_doesnt_tell_is_unknown_not_zero() -> None:
    assert cost_of(Generation("a")) == dict.fromkeys(NAMES)
    told = Generation("a", forward_passes=3, seconds=0.5, flops=0.0, media_seconds=0.0)
    assert cost_of(told) == {
        **dict.fromkeys(NAMES), "forward_passes": 3, "seconds": 0.5, "flops": 0.0, "media_seconds": 0.0,
    }  # fmt: skip


def test_means_are_over_the_samples_whose_cost_is_known() -> None:
    counter = CostCounter()
    counter.add({"forward_passes": 2, "seconds": 1.0, "media_seconds": 0.5, "peak_memory": 7})
    counter.add({"forward_passes": 4, "seconds": 3.0, "media_seconds": None, "peak_memory": 5})
    counter.add({"forward_passes": None, "seconds": None})
    summary = counter.summary()
    assert summary.answered == 3
    assert (summary.mean("forward_passes"), summary.mean("seconds"), summary.mean("flops")) == (3, 2.0, None)
    assert summary.seconds_with_media == 2.5
    assert summary.peak_memory == 7
    assert summary.known["peak_memory"] == 2


def test_nothing_answered_is_nothing_known() -> None:
    summary = CostCounter().summary()
    assert summary.answered == 0
    assert [summary.mean(name) for name in ADDED] == [None] * len(ADDED)
    assert (summary.seconds_with_media, summary.peak_memory) == (None, None)


@pytest.mark.parametrize("costs", [[], [{"flops": 2e12, "peak_memory": 9}], [{"seconds": 0.25}, {"prompt_tokens": 4}]])
def test_json_there_and_back(costs: list[dict[str, float]]) -> None:
    counter = CostCounter()
    for cost in costs:
        counter.add(cost)
    summary = counter.summary()
    again = CostSummary.from_json(json.loads(json.dumps(summary.as_json(), allow_nan=False)))
    assert again.as_json() == summary.as_json()
    assert [again.mean(name) for name in ADDED] == [summary.mean(name) for name in ADDED]
