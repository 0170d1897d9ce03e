"""From the scores of samples to counts, means and intervals. Every sample counts; an empty set is an error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from lladav_eval.errors import TaskError, one_line

Scale = Literal["fraction", "points"]
"""``fraction``: values lie in 0..1 and are shown on 0-100. ``points``: values are shown as they are (MME's sums)."""


@dataclass(frozen=True)
class Counts:
    """How the samples of one task ended; the four kinds add up to ``n``."""

    n: int
    scored: int
    failed: int
    unparsed: int
    empty: int


@dataclass(frozen=True)
class MetricSummary:
    """One metric over all samples of a task, in the units shown to people."""

    value: float
    low: float | None
    """Lower end of the 95 % interval; None where the task's own aggregation is no mean over samples."""
    high: float | None
    method: str | None
    """How the interval was computed."""
    is_mean: bool
    """Whether the value is the mean of the samples' values."""


class NoFigure(TaskError):
    """An aggregation that gives None, as it writes a file (answers to hand in), or several figures at once."""


class OutsideScale(TaskError):
    """Values or a figure that don't fit the scale."""


def count(statuses: Iterable[str]) -> Counts:
    """Counts by ``Score.status``, a Counter included. Raises TaskError when there is no sample at all."""
    kinds = Counter(statuses)
    n = sum(kinds.values())
    if n == 0:
        raise TaskError("there is no sample to aggregate: the result would be empty")
    return Counts(n, kinds["scored"], kinds["failed"], kinds["unparsed"], kinds["empty"])


def cluster_sums(values: Sequence[float], clusters: Sequence[object] | None) -> tuple[list[float], list[int]]:
    """(sum of the values, number of values) of each cluster, in order of appearance; None is a cluster of its own."""
    if clusters is None:
        return list(values), [1] * len(values)
    members: dict[object, list[float]] = {}
    for index, (value, cluster) in enumerate(zip(values, clusters, strict=True)):
        members.setdefault(("alone", index) if cluster is None else ("cluster", cluster), []).append(value)
    return [math.fsum(found) for found in members.values()], [len(found) for found in members.values()]


def interval(values: Sequence[float], clusters: Sequence[object] | None = None) -> tuple[float, float, str]:
    """95 % interval of the mean of per-sample values: (low, high, method).

    Wilson's score interval where every value is 0 or 1; otherwise Student's, of the sample's standard deviation. Values
    of one cluster (scoring/clusters.py) count as one observation: Wilson's where each is all or nothing, else
    Student's with the cluster-robust deviation, as in Miller, arXiv:2411.00640, section 2.2.

    Values that are all the same show no deviation. On 0..1 they get Wilson's interval, as nothing on that range can
    vary more than zeros and ones of the same mean; elsewhere one alone gets a range that includes 0 and 1.
    """
    n = len(values)
    if n == 0:
        raise TaskError("there is no sample to aggregate: the interval would be empty")
    sums, sizes = cluster_sums(values, clusters)
    count = len(sums)
    together = ", clustered" if count < n else ""
    mean = math.fsum(values) / n
    # Of a mean of sums; where clusters differ in size, one that is all right isn't 1.
    units = [total * count / n for total in sums]
    if all(math.isclose(unit, round(unit), abs_tol=1e-9) and round(unit) in (0, 1) for unit in units):
        return (*_wilson(sum(map(round, units)), count), f"wilson{together}")
    bounded = all(0 <= value <= 1 for value in values)
    residuals = [total - size * mean for total, size in zip(sums, sizes, strict=True)]
    squares = math.fsum(residual**2 for residual in residuals)
    if count == 1 or math.isclose(squares, 0, abs_tol=1e-12):
        if bounded:
            return (*_wilson(mean * count, count), f"wilson{together}")
        return (mean, mean, f"student{together}") if count > 1 else (min(0.0, mean), max(1.0, mean), "whole range")
    from scipy.stats import t

    half = float(t.ppf(0.975, count - 1)) * math.sqrt(squares * count / (count - 1)) / n
    low, high = mean - half, mean + half
    return (max(low, 0.0), min(high, 1.0), f"student{together}") if bounded else (low, high, f"student{together}")


def _wilson(right: float, n: int) -> tuple[float, float]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(right, n, alpha=0.05, method="wilson")
    # At the ends the interval ends there too, which rounding misses by a last bit.
    return (float(low) if right else 0.0), (float(high) if right < n else 1.0)


def item_value(item: Any) -> float | None:
    """The per-sample value of what ``process_results`` gave for a metric: a number, or the ``score`` of a mapping."""
    value = item.get("score") if isinstance(item, dict) else item
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def summarise(
    metric: str,
    items: Sequence[Any],
    failed: int,
    scale: Scale,
    aggregate: Callable[[list[Any]], Any],
    empty_items: Callable[[], list[Any]],
    clusters: Sequence[object] | None = None,
    shares: Callable[[list[Any]], list[float] | None] = lambda items: None,
) -> MetricSummary:
    """One metric of one task; every failed sample counts as 0.

    ``items`` holds one entry per sample that did not fail; ``aggregate`` is the task's own aggregation. Where that is
    the mean of the samples' values, or 100 times it, the mean over all samples and its interval are given. Where it is
    something else (a ratio, a sum over pairs), it is asked again with ``empty_items()``, the entries that the empty
    answer would have given for the failed samples; the interval is that of the samples' ``shares`` in it, where it has
    some. ``clusters`` belong to ``items``, then to the failed samples.

    Raises OutsideScale where the values don't fit the scale, and TaskError where nothing numeric comes out (NoFigure:
    nothing at all).
    """
    if not items and not failed:
        raise TaskError(f"metric {metric}: there is no sample to aggregate")
    found = [item_value(item) for item in items]
    values = [value for value in found if value is not None]
    known = len(values) == len(items)
    outside = [value for value in values if scale == "fraction" and not 0 <= value <= 1]
    if outside:
        raise _outside(metric, outside[0])
    mean = math.fsum(values) / len(values) if values else 0.0
    factor = 100.0 if scale == "fraction" else 1.0
    own = _without_failed(metric, aggregate, items, failed)
    if (
        known
        and own is not None
        and any(math.isclose(own, unit * mean, rel_tol=1e-6, abs_tol=1e-9) for unit in (1, factor))
    ):
        every = [*values, *[0.0] * failed]
        low, high, method = interval(every, clusters)
        return MetricSummary(factor * math.fsum(every) / len(every), factor * low, factor * high, method, True)
    every_item = [*items, *empty_items()] if failed else list(items)
    if failed or own is None:
        own = _aggregated(metric, aggregate, every_item)
    if scale == "fraction" and not 0 <= own <= 1:
        raise _outside(metric, own)
    parts = shares(every_item)
    if parts is None or not math.isclose(math.fsum(parts) / len(parts), own, rel_tol=1e-6, abs_tol=1e-9):
        return MetricSummary(factor * own, None, None, None, False)
    low, high, method = interval(parts, clusters)
    if scale == "fraction":
        low, high = max(low, 0.0), min(high, 1.0)
    return MetricSummary(factor * own, factor * low, factor * high, method, False)


def _without_failed(
    metric: str, aggregate: Callable[[list[Any]], Any], items: Sequence[Any], failed: int
) -> float | None:
    """The figure of the samples that didn't fail; None if there is none without the others (MME needs pairs)."""
    if not items:
        return 0.0
    try:
        return _aggregated(metric, aggregate, list(items))
    except TaskError:
        if not failed:
            raise
    return None


def _aggregated(metric: str, aggregate: Callable[[list[Any]], Any], items: list[Any]) -> float:
    try:
        own = aggregate(items)
    except (Exception, SystemExit) as error:  # functions of the task
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise TaskError(f"metric {metric}: the task's aggregation failed: {reason}") from error
    if own is None or isinstance(own, (Mapping, list, tuple)):
        raise NoFigure(f"metric {metric}: the task's aggregation gives no figure, but {own!r:.100}")
    if not isinstance(own, Real) or not math.isfinite(own):  # numpy's numbers are real, too
        raise TaskError(f"metric {metric}: the task's aggregation gives {own!r} instead of a number")
    return float(own)


def _outside(metric: str, value: float) -> OutsideScale:
    return OutsideScale(
        f"metric {metric}: {value!r} is outside 0..1; if that is meant, "
        "write `metadata: {scale: points}` in the task's YAML"
    )
