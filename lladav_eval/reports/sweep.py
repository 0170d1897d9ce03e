"""Quality against cost over a grid of decoding settings: one row per point and task, exact and approximate apart.

A point is on the Pareto front of its task if no other point of the same kind of decoding is at least as good and at
least as cheap, and better in one of the two. Exact and approximate points never share a front, a column or a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from lladav_eval.errors import UsageError
from lladav_eval.reports.comparable import task_differences
from lladav_eval.reports.pairing import run_facts
from lladav_eval.reports.run_data import PREFIX, RunData, Task, of_all
from lladav_eval.scoring.cost import CostCounter

Cost = Literal["seconds", "forward_passes"]
COSTS: tuple[Cost, ...] = ("seconds", "forward_passes")


@dataclass(frozen=True)
class Row:
    """One run on one task, with everything that must stand beside its numbers."""

    task: str
    model: str
    run: str
    """Name of its run directory."""
    steps: int | None
    """None for the baseline, as are the other settings."""
    block_length: int | None
    approximate: str | None
    """The approximate modes in use, such as ``cache=dual:32``; None if decoding was exact."""
    metric: str
    n: int
    asked: str
    """The same with the number of the split's rows, where not all of them were asked."""
    failed: int
    value: float
    """In the units shown to people."""
    low: float | None
    high: float | None
    forward_passes: float | None
    """Per answered sample; None where the model doesn't tell, as for the other costs."""
    seconds: float | None
    times_are_shares: bool
    flops: float | None
    changed: str
    """Settings that differ from the task's own, in words, but for those that a sweep varies."""
    protocol: str
    commit: str
    date: str
    front: tuple[Cost, ...] = ()
    """The costs against which the point is on the Pareto front."""

    @property
    def short(self) -> str:
        """The task's name without our prefix."""
        return self.task.removeprefix(PREFIX)

    @property
    def samples_per_second(self) -> float | None:
        """None where no time was recorded, or of an endpoint, whose times are latencies."""
        return 1 / self.seconds if self.seconds and self.times_are_shares else None


@dataclass(frozen=True)
class Left:
    """A combination that was not run."""

    task: str
    steps: int | None
    block_length: int | None
    cache: str | None
    reason: str


@dataclass(frozen=True)
class Sweep:
    """All points of a sweep, in the order they were asked for."""

    rows: tuple[Row, ...]
    baseline: tuple[Row, ...]
    """One row per task, or none at all."""
    skipped: tuple[Left, ...]
    runs: tuple[Mapping[str, Any], ...]
    """What must stand beside the numbers of each run."""

    @property
    def tasks(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(row.task for row in self.rows))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [(row, False) for row in self.rows] + [(row, True) for row in self.baseline]
        return {
            "schema": 1,
            "points": [
                {
                    **asdict(row),
                    "decoding": decoding(row),
                    "samples_per_second": row.samples_per_second,
                    "baseline": is_baseline,
                }
                for row, is_baseline in rows
            ],
            "skipped": [asdict(left) for left in self.skipped],
            "runs": list(self.runs),
        }


def decoding(row: Row) -> str:
    """``exact`` or ``approximate``."""
    return "exact" if row.approximate is None else "approximate"


def build_sweep(
    tasks: Sequence[str], points: Sequence[RunData], skipped: Sequence[Left], baseline: RunData | None = None
) -> Sweep:
    """Put the runs of a sweep together, tasks in the order given.

    Raises UsageError for a baseline on other samples, data or protocol.
    """
    if baseline is not None:
        _check_baseline(baseline, points)
    runs = [*points, *([] if baseline is None else [baseline])]
    metrics = {name: _metric(name, runs) for name in tasks if any(name in run.tasks for run in points)}
    rows = [_row(run, run.tasks[name], metrics[name]) for name in metrics for run in points if name in run.tasks]
    lines = [] if baseline is None else [_row(baseline, baseline.tasks[name], metrics[name], True) for name in metrics]
    return Sweep(tuple(_with_fronts(rows)), tuple(lines), tuple(skipped), tuple(run_facts(run) for run in runs))


def _metric(task: str, runs: Sequence[RunData]) -> str:
    """The headline, or where that isn't the same in all runs (answers may wait for a judge) a metric that all have.

    Raises UsageError where there is none.
    """
    found = [run.tasks[task] for run in runs if task in run.tasks]
    if len({one.headline for one in found}) == 1:
        return found[0].headline
    shared = [name for name in found[0].metrics if all(name in one.metrics for one in found)]
    if not shared:
        raise UsageError(f"{found[0].short}: the runs have no metric in common")
    return shared[0]


def _check_baseline(baseline: RunData, points: Sequence[RunData]) -> None:
    """Every sample of every point must be in the baseline, and mean the same there."""
    for run in points:
        if run.protocol != baseline.protocol:
            raise UsageError(f"{baseline.path} follows the protocol {baseline.protocol}, the sweep {run.protocol}")
        for name, task in run.tasks.items():
            if name not in baseline.tasks:
                raise UsageError(f"{baseline.path} lacks the task {task.short}: give a baseline run of the same tasks")
            reasons = task_differences(name, baseline, run)
            if reasons:
                raise UsageError(f"{baseline.path} is no baseline of this sweep: {reasons[0]}")


def _row(run: RunData, task: Task, name: str, baseline: bool = False) -> Row:
    metric = task.metrics[name]
    cost = CostCounter()
    for sample in run.of_task(task.name):
        if sample.answered:
            cost.add(sample.cost)
    return Row(
        task=task.name,
        model=run.model,
        run=run.label,
        steps=None if baseline else task.settings.get("steps"),
        block_length=None if baseline else task.settings.get("block_length"),
        approximate=task.approximate,
        metric=name,
        n=metric.n,
        asked=of_all(metric.n, task.rows if task.n < task.rows else 0),
        failed=task.failed,
        value=metric.value,
        low=metric.low,
        high=metric.high,
        forward_passes=task.forward_passes_per_sample,
        seconds=task.seconds_per_sample,
        times_are_shares=run.times_are_shares,
        flops=cost.summary().mean("flops"),
        changed=task.changes(("steps", "block_length", "cache")),
        protocol=run.protocol,
        commit=run.version,
        date=run.date,
    )


def _with_fronts(rows: Sequence[Row]) -> list[Row]:
    def beaten(row: Row, cost: Cost) -> bool:
        own = getattr(row, cost)
        return own is None or any(
            other.value >= row.value and price <= own and (other.value > row.value or price < own)
            for other in rows
            if other.task == row.task and decoding(other) == decoding(row)
            if (price := getattr(other, cost)) is not None
        )

    return [replace(row, front=tuple(cost for cost in COSTS if not beaten(row, cost))) for row in rows]
