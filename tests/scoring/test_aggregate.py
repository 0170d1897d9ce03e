"""Counts, intervals and means against figures worked out elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lladav_eval.errors import TaskError
from lladav_eval.scoring.aggregate import Counts, MetricSummary, NoFigure, count, interval, summarise


def mean(items: list[float]) -> float:
    return sum(items) / len(items)


def percent_of_scores(items: list[dict[str, float]]) -> float:
    return 100 * sum(item["score"] for item in items) / len(items)


def summary(items: list[Any], failed: int = 0, scale: Any = "fraction", how: Callable[[list[Any]], Any] = mean) -> Any:
    return summarise("m", items, failed, scale, how, lambda: [0.0] * failed)


def test_counts_add_up() -> None:
    statuses = ["scored", "unparsed", "empty", "failed", "scored"]
    assert count(statuses) == count(Counter(statuses)) == Counts(5, 2, 1, 1, 1)
    with pytest.raises(TaskError, match="no sample"):
        count([])


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # Wilson 1927; the cases of Newcombe 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_of_the_literature(right: int, n: int, low: float, high: float) -> None:
    found = interval([1.0] * right + [0.0] * (n - right))
    assert found[0] == pytest.approx(low, abs=5e-5)
    assert found[1] == pytest.approx(high, abs=5e-5)
    assert found[2] == "wilson"


def test_other_values_get_students_interval() -> None:
    low, high, method = interval([0.3, 0.4, 0.5])
    assert method == "student"
    half = 4.30265 * 0.1 / math.sqrt(3)  # the t distribution with two degrees of freedom
    assert (low, high) == pytest.approx((0.4 - half, 0.4 + half), abs=1e-4)
    assert interval([7.0]) == (0.0, 7.0, "whole range")


def test_values_beyond_the_range_are_not_held_inside_it() -> None:
    low, high, method = interval([0.5, 1.5, -0.5, 0.5])
    half = 3.18245 * math.sqrt(2 / 3) / 2  # three degrees of freedom
    assert (low, high, method) == (pytest.approx(0.5 - half, abs=1e-4), pytest.approx(0.5 + half, abs=1e-4), "student")


def test_values_that_do_not_vary_are_no_certainty() -> None:
    assert interval([0.5, 0.5]) == (*interval([0.0, 1.0])[:2], "wilson")
    assert interval([0.5])[1] - interval([0.5])[0] > 0.8
    assert interval([2.0, 2.0]) == (2.0, 2.0, "student")


def test_samples_of_one_cluster_are_one_observation() -> None:
    rows, clusters = [1.0] * 30 + [0.0] * 10, [n // 4 for n in range(40)]
    mixed = [1.0, 0.0] * 20
    whole = interval([1.0] * 28 + [0.0] * 12, clusters)
    assert whole == (*interval([1.0] * 7 + [0.0] * 3)[:2], "wilson, clustered")
    assert interval(mixed, clusters)[2] == "wilson, clustered"  # each cluster is half right
    low, high, method = interval(rows, clusters)
    residuals = [sum(rows[4 * n : 4 * n + 4]) - 4 * 0.75 for n in range(10)]
    half = 2.262157 * math.sqrt(sum(r * r for r in residuals) * 10 / 9) / 40  # nine degrees of freedom
    assert method == "student, clustered"
    assert (low, high) == pytest.approx((0.75 - half, min(1.0, 0.75 + half)), abs=1e-5)
    assert interval(rows, [None] * 40) == interval(rows)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_an_interval_holds_the_mean_and_stays_in_range(values: list[float]) -> None:
    low, high, _ = interval(values)
    assert -1e-9 <= low <= sum(values) / len(values) + 1e-9
    assert sum(values) / len(values) - 1e-9 <= high <= 1 + 1e-9


def test_failed_samples_count_as_zero() -> None:
    half = summary([1.0, 1.0], failed=2)
    low, high, _ = interval([1.0, 1.0, 0.0, 0.0])
    assert (half.value, half.low, half.high) == (50, 100 * low, 100 * high)
    assert summary([], failed=3).value == 0
    assert summary([], failed=3).high == pytest.approx(56.15, abs=0.01)


def test_scores_in_mappings_and_percentages_are_understood() -> None:
    items = [{"id": 1, "score": 1.0}, {"id": 2, "score": 0.0}, {"id": 3, "score": 1.0}]
    found = summary(items, failed=1, how=percent_of_scores)
    assert found.value == 50
    assert found.method == "wilson"


def test_an_aggregation_that_is_no_mean_has_no_interval() -> None:
    found = summary([0.5, 1.0], how=max)
    assert (found.value, found.low, found.method) == (100, None, None)
    found = summary([0.5, 1.0], failed=2, how=min)
    assert found.value == 0


def with_shares(shares: list[float], scale: Any = "fraction", figure: float = 0.5, **more: Any) -> MetricSummary:
    """Of items that have no value of their own."""
    return summarise(
        "m", ["?"] * len(shares), 0, scale, lambda items: figure, list, shares=lambda items: shares, **more
    )


def test_shares_give_a_figure_that_is_no_mean_its_interval() -> None:
    shares = [1.0, 0.0, 1.0, 0.0]
    low, high, _ = interval(shares)
    assert with_shares(shares) == MetricSummary(50, 100 * low, 100 * high, "wilson", False)
    assert with_shares(shares, clusters=["x", "x", "y", "y"]).method == "wilson, clustered"
    assert with_shares(shares, figure=0.75) == MetricSummary(75, None, None, None, False), "shares of something else"
    wide = [2.0, -0.4, 0.2, 0.2]  # a share may be larger than the figure can be
    assert (with_shares(wide).low, with_shares(wide).high) == (0, 100)
    low, high, _ = interval(wide)
    assert with_shares(wide, "points") == MetricSummary(0.5, low, high, "student", False)


def test_shares_are_those_of_failed_samples_too() -> None:
    found = summarise(
        "m", ["yes"], 1, "fraction", lambda items: items.count("yes") / len(items), lambda: ["no"],
        shares=lambda items: [float(item == "yes") for item in items],
    )  # fmt: skip
    assert (found.value, found.low) == (50, 100 * interval([1.0, 0.0])[0])


def test_a_figure_is_no_mean_of_samples_where_one_has_no_value() -> None:
    assert not summary([1.0, {"no": 1}], how=lambda items: 1.0).is_mean
    assert summary([1.0, {"score": 1}], how=lambda items: 1.0).is_mean


def test_points_are_shown_as_they_are() -> None:
    assert summary([150.0, 50.0], scale="points").value == 100
    assert summary([150.0, 50.0], scale="points", how=sum).value == 200


@pytest.mark.parametrize(
    ("items", "how", "message"),
    [
        ([], mean, "no sample"),
        ([3.0], mean, r"3.0 is outside 0..1; .*scale: points"),
        ([1.0, 1.5, 0.0], mean, r"1.5 is outside 0..1"),
        ([1.5, {"no": 1}], lambda items: 1.0, r"1.5 is outside 0..1"),
        ([-0.5, 1.0], mean, r"-0.5 is outside 0..1"),
        ([1.0, 1.0], sum, "outside 0..1"),
        ([1.0], lambda items: "high", "gives 'high' instead of a number"),
        ([1.0], lambda items: math.nan, "gives nan"),
        ([{"no": 1}], mean, "aggregation failed"),
        ([1.0], lambda items: 1 / 0, "aggregation failed: ZeroDivisionError"),
    ],
)
def test_what_cant_be_aggregated_raises(items: list[Any], how: Callable[[list[Any]], Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        summary(items, how=how)


@pytest.mark.parametrize("nothing", [None, {"all": 1.0}, [1.0]])
def test_no_figure_is_told_from_a_wrong_one(nothing: Any) -> None:
    with pytest.raises(NoFigure, match="gives no figure"):
        summary([1.0], how=lambda items: nothing)


def test_wilson_intervals_end_where_the_scores_end() -> None:
    for n in range(1, 200):
        assert interval([1.0] * n)[1] == 1.0
        assert interval([0.0] * n)[0] == 0.0
