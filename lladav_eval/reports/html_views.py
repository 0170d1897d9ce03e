"""The tables and bars of the HTML report's first two pages, as plain values for its template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lladav_eval.reports.comparison import Comparison
from lladav_eval.reports.run_data import STATUSES, RunData, Sample, Task
from lladav_eval.scoring.aggregate import interval


@dataclass(frozen=True)
class Figure:
    """A number with its interval, in the units shown; ``bar`` says whether it fits on 0-100."""

    value: float
    low: float | None
    high: float | None
    n: int
    bar: bool


@dataclass(frozen=True)
class CategoryView:
    """One category of a task; a figure per run, None where no sample has a value."""

    number: int
    """Position in the page's list of the task's categories."""
    name: str
    figures: tuple[Figure | None, ...]


@dataclass(frozen=True)
class TaskView:
    """One task; entries of the tuples are one per run, None where the run lacks the task."""

    number: int
    name: str
    metric: str
    category_metric: str
    """What the figures of the categories are: the metric, or, where that is no mean, the share of right answers."""
    tasks: tuple[Task | None, ...]
    figures: tuple[Figure | None, ...]
    statuses: tuple[tuple[tuple[str, int, float], ...] | None, ...]
    """(status, samples, percent of n) of the statuses that occur."""
    categories: tuple[CategoryView, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    """(name, value per run)."""


def task_views(runs: Sequence[RunData], index: Mapping[str, Any]) -> list[TaskView]:
    """Every task, numbered as in the page's index."""
    names = list(dict.fromkeys(name for run in runs for name in run.tasks))
    known: dict[tuple[str, int], str] = {}  # a run made before categories were recorded borrows the other's
    for run in reversed(runs):
        known.update({place: sample.category for place, sample in run.samples.items() if sample.category})
    return [
        _task_view(number, name, runs, index["tasks"][number]["categories"], known) for number, name in enumerate(names)
    ]


def heads(views: Sequence[TaskView]) -> list[dict[str, Any]]:
    """For the page of samples: what stands above a task's or a category's list, [value, low, high, n] per run."""

    def plain(figures: Sequence[Figure | None]) -> list[list[float | None] | None]:
        return [None if figure is None else [figure.value, figure.low, figure.high, figure.n] for figure in figures]

    return [
        {
            "metric": view.metric,
            "all": plain(view.figures),
            "categoryMetric": view.category_metric,
            "categories": [plain(category.figures) for category in view.categories],
        }
        for view in views
    ]


def _task_view(
    number: int,
    name: str,
    runs: Sequence[RunData],
    categories: Sequence[str],
    known: Mapping[tuple[str, int], str],
) -> TaskView:
    tasks = tuple(run.tasks.get(name) for run in runs)
    first = next(task for task in tasks if task is not None)
    members = [_members(run, name, known) for run in runs]
    settings: dict[str, tuple[str, ...]] = {}
    for key in sorted({key for task in tasks if task is not None for key in task.settings}):
        settings[key] = tuple("" if task is None else str(task.settings.get(key, "")) for task in tasks)
    return TaskView(
        number=number,
        name=first.short,
        metric=first.headline,
        category_metric=first.headline if _is_mean(first) else "share of right answers",
        tasks=tasks,
        figures=tuple(None if task is None else _headline(task) for task in tasks),
        statuses=tuple(None if task is None else _statuses(task) for task in tasks),
        categories=tuple(
            CategoryView(
                place,
                category,
                tuple(
                    None if task is None else _mean(found.get(category, []), task)
                    for task, found in zip(tasks, members, strict=True)
                ),
            )
            for place, category in enumerate(categories)
        ),
        settings=tuple(settings.items()),
    )


def _members(run: RunData, name: str, known: Mapping[tuple[str, int], str]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in run.of_task(name):
        if sample.identity in known:
            found.setdefault(known[sample.identity], []).append(sample)
    return found


def _is_mean(task: Task) -> bool:
    """Whether the headline is a mean of the samples' values; MME's sums, for one, are not."""
    return task.metrics[task.headline].is_mean


def _headline(task: Task) -> Figure:
    metric = task.metrics[task.headline]
    return Figure(metric.value, metric.low, metric.high, metric.n, task.scale == "fraction")


def _mean(samples: Sequence[Sample], task: Task) -> Figure | None:
    """The mean of the headline metric over some samples, failed ones as 0; None where one has no value of its own."""
    values = [0.0 if sample.status == "failed" else sample.metrics.get(task.headline) for sample in samples]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    shares = task.scale == "fraction" or (not _is_mean(task) and all(0 <= value <= 1 for value in known))
    factor = 100.0 if shares else 1.0
    low, high, _ = interval(known, [sample.cluster for sample in samples])
    return Figure(factor * math.fsum(known) / len(known), factor * low, factor * high, len(known), shares)


def _statuses(task: Task) -> tuple[tuple[str, int, float], ...]:
    counts = [(status, int(getattr(task, status))) for status in STATUSES]
    return tuple((status, count, 100 * count / task.n) for status, count in counts if count)


def pair_rows(comparison: Comparison | None) -> list[dict[str, Any]]:
    """The paired figures of two runs, one mapping per task."""
    if comparison is None:
        return []
    short = comparison.runs[0].tasks
    return [
        {
            "task": short[pair.task].short,
            "number": list(short).index(pair.task),
            "n": pair.n,
            "difference": pair.difference,
            "low": pair.low,
            "high": pair.high,
            "wins": pair.wins,
            "losses": pair.losses,
            "ties": pair.n - pair.wins - pair.losses,
            "p": pair.p_corrected,
            "test": {"mcnemar": "McNemar, exact", "bootstrap": "bootstrap"}[pair.paired.test],
            "smallest": pair.smallest,
        }
        for pair in comparison.pairs
    ]
