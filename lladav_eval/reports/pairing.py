"""Which samples of two runs belong together, and what the runs say of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lladav_eval.errors import UsageError
from lladav_eval.reports.run_data import RunData, Sample, Task, of_part
from lladav_eval.reports.statistics import Test, is_binary, observations
from lladav_eval.scoring.lmms import shares_of

Scope = Literal["overall", "task", "category"]


def run_facts(run: RunData) -> dict[str, Any]:
    """What must stand beside every number of a run."""
    return {
        "run": run.label,
        "model": run.model,
        "kind": run.kind,
        "protocol": run.protocol,
        "approximate": run.approximate,
        "commit": run.commit,
        "dirty": run.dirty,
        "date": run.date,
        "n": len(run.samples),
        "failed": sum(task.failed for task in run.tasks.values()),
    }


@dataclass(frozen=True)
class Observed:
    """What runs say of the same samples of one task."""

    values: tuple[tuple[float, ...], ...]
    """Per run a number for each sample; their mean is the figure, on 0..1 or as a share of the most there can be."""
    own: tuple[tuple[float, ...], ...]
    """The same where the figure is the mean of the samples' own values; else those values."""
    clusters: tuple[str | None, ...]
    """Of each sample; those of one cluster count as one observation."""
    is_figure: bool
    """False where the figure is no mean and can't be taken apart: then ``values`` say something else than it."""


def with_metric(name: str, doc_ids: Sequence[int], runs: Sequence[RunData], metric: str) -> list[int]:
    """Which samples of one task, that all runs have, the task gives a metric to: some tasks have one for a part only.

    A failed sample is 0 in every metric that it could have had. Which those are the same sample tells where another
    run has its answer; else its own record, made of what an empty answer gives.

    Raises UsageError where a run lacks the metric, or samples that the figure is of have no value of their own; and
    where what an answer says decides whether it counts, as such runs are figures of different samples.
    """
    for run in runs:
        _check_values(name, run, metric)
    kept = []
    for doc_id in doc_ids:
        same = [run.samples[name, doc_id] for run in runs]
        answered = [sample for sample in same if sample.status != "failed"]
        given = {metric in sample.metrics for sample in answered or same}
        if answered and len(given) > 1:
            raise UsageError(
                f"{runs[0].tasks[name].short} {doc_id}: only some of the runs give it {metric}, so samples can't be "
                "paired; choose another metric with --metric"
            )
        if given == {True}:
            kept.append(doc_id)
    if not kept:
        raise UsageError(f"the runs have no sample of {runs[0].tasks[name].short} with {metric} in common")
    return kept


def _check_values(name: str, run: RunData, metric: str) -> None:
    """Whether as many samples have a value of the metric as its figure is of."""
    task = run.tasks[name]
    if metric not in task.metrics:
        known = ", ".join(task.metrics)
        raise UsageError(f"{run.path}: the task {task.short} has no metric {metric!r}; choose one of {known}")
    lacking = _without_value(task, run, metric)
    if lacking:
        others = [other for other in task.metrics if not _without_value(task, run, other)]
        fix = f"choose another metric with --metric: {', '.join(others)}" if others else (
            "nor for another metric: run this program's own task of the benchmark, if it has one (`lladav-eval tasks`)"
        )  # fmt: skip
        raise UsageError(
            f"{run.path}: {name} {lacking[0].doc_id} has no value of its own for {metric}, so samples can't be paired; "
            f"{fix}"
        )


def _without_value(task: Task, run: RunData, metric: str) -> list[Sample]:
    """Samples without a value of the metric, if its figure is of more than those that have one."""
    lacking = [sample for sample in run.of_task(task.name) if metric not in sample.metrics]
    return lacking if task.n - len(lacking) < task.metrics[metric].n else []


def partly(short: str, metric: str, n: int, of: int) -> list[str]:
    """A note where a metric is of some samples only."""
    part = of_part(n, of)
    return [f"{short}: {metric} is {part}"] if part else []


def observe(name: str, doc_ids: Sequence[int], runs: Sequence[RunData], metric: str) -> Observed:
    """A metric of one task in several runs, on samples that all have and that ``with_metric`` found."""
    samples = [[run.samples[name, doc_id] for doc_id in doc_ids] for run in runs]
    clusters = tuple(
        next((sample.cluster for sample in same if sample.cluster is not None), None)
        for same in zip(*samples, strict=True)
    )
    shares = [_shares(run.tasks[name], found, metric) for run, found in zip(runs, samples, strict=True)]
    own = _scaled([[one.metrics.get(metric, 0.0) for one in found] for found in samples])
    if any(found is None for found in shares):
        is_mean = all(run.tasks[name].metrics[metric].is_mean for run in runs)
        return Observed(own, own, clusters, is_mean)
    return Observed(tuple(found for found in shares if found is not None), own, clusters, True)


def _shares(task: Task, samples: Sequence[Sample], metric: str) -> tuple[float, ...] | None:
    """Each sample's share in a figure that is no mean of their values, as a share of the most there can be."""
    items = [sample.items.get(metric) for sample in samples]
    shares = shares_of(task.family, items)
    if shares is None:
        return None
    perfect = shares_of(task.family, items, perfect=True) if task.scale == "points" else None
    most = math.fsum(perfect) / len(perfect) if perfect else 1.0
    return tuple(share / most for share in shares)


def _scaled(lists: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """Values beyond -1..1 as shares of the largest one."""
    largest = max(1.0, *(abs(value) for values in lists for value in values))
    return tuple(tuple(value / largest for value in values) for values in lists)


def check_test(test: Test | None, short: str, observed: Observed) -> None:
    """Raises UsageError where McNemar's test is asked for and observations aren't just right or wrong."""
    if test == "mcnemar" and not all(is_binary(observations(values, observed.clusters)) for values in observed.values):
        together = " (those of one picture, video or question together)" if any(observed.clusters) else ""
        raise UsageError(
            f"--test mcnemar: samples of {short}{together} are not just right or wrong; use --test bootstrap"
        )


@dataclass(frozen=True)
class Group:
    """Paired samples of everything together, of a task or of a category."""

    scope: Scope
    task: str
    category: str
    metric: str
    identities: tuple[tuple[str, int], ...]
    before: tuple[float, ...]
    """As ``Observed.values``; of a category the samples' own."""
    after: tuple[float, ...]
    own_before: tuple[float, ...]
    own_after: tuple[float, ...]
    clusters: tuple[Hashable, ...]
    reported: tuple[float, float] | None = None
    """The figures of both runs on 0-100 where ``before`` and ``after`` say something else than they."""


def groups(baseline: RunData, candidate: RunData, metric: str | None = None, test: Test | None = None) -> list[Group]:
    """Everything together first (where there are several tasks), then each task followed by its categories.

    ``metric`` None takes each task's headline. Raises UsageError where the metric or the test doesn't fit a task.
    """
    tasks = [_task_group(name, baseline, candidate, metric, test) for name in baseline.tasks]
    found = [group for task in tasks for group in (task, *_categories(task, baseline, candidate))]
    if len(tasks) == 1:
        return found
    together = Group(
        "overall",
        "",
        "",
        tasks[0].metric if len({group.metric for group in tasks}) == 1 else "headline",
        tuple(identity for group in tasks for identity in group.identities),
        tuple(value for group in tasks for value in group.before),
        tuple(value for group in tasks for value in group.after),
        tuple(value for group in tasks for value in group.own_before),
        tuple(value for group in tasks for value in group.own_after),
        tuple(cluster for group in tasks for cluster in _across_tasks(group, baseline.tasks[group.task])),
    )
    return [together, *found]


def _across_tasks(group: Group, task: Task) -> list[Hashable]:
    """Clusters of a task's samples among those of other tasks: two tasks that ask the same rows share them."""
    data: tuple[object, ...] = (task.dataset_path, task.dataset_name, task.split, task.data_revision)
    if task.data_revision is None:  # nothing says whether the data are the same
        data = (task.name,)
    return [
        (data, doc_id if cluster is None else ("cluster", cluster))
        for (_, doc_id), cluster in zip(group.identities, group.clusters, strict=True)
    ]


def _task_group(
    name: str, baseline: RunData, candidate: RunData, metric: str | None = None, test: Test | None = None
) -> Group:
    """The samples of a task, paired; both runs have the same. Raises UsageError where metric or test doesn't fit."""
    task, runs = baseline.tasks[name], (baseline, candidate)
    metric = metric or task.headline
    doc_ids = with_metric(name, [sample.doc_id for sample in baseline.of_task(name)], runs, metric)
    observed = observe(name, doc_ids, runs, metric)
    check_test(test, task.short, observed)
    reported = None
    if not observed.is_figure:
        figures = [run.tasks[name].metrics[metric].value for run in runs]
        most = 1.0 if task.scale == "fraction" else max(1.0, *map(abs, figures)) / 100
        reported = figures[0] / most, figures[1] / most
    (before, after), (own_before, own_after) = observed.values, observed.own
    identities = tuple((name, doc_id) for doc_id in doc_ids)
    return Group(
        "task", name, "", metric, identities, before, after, own_before, own_after, observed.clusters, reported
    )


def _categories(group: Group, baseline: RunData, candidate: RunData) -> list[Group]:
    """One group per category, as either run recorded it; none where the task knows fewer than two."""
    members: dict[str, list[int]] = {}
    for index, identity in enumerate(group.identities):
        category = baseline.samples[identity].category or candidate.samples[identity].category
        if category is not None:
            members.setdefault(category, []).append(index)
    if len(members) < 2:
        return []

    def part(category: str, indices: Sequence[int]) -> Group:
        before, after = (tuple(own[index] for index in indices) for own in (group.own_before, group.own_after))
        return Group(
            "category", group.task, category, group.metric, tuple(group.identities[index] for index in indices),
            before, after, before, after, tuple(group.clusters[index] for index in indices),
        )  # fmt: skip

    return [part(category, indices) for category, indices in sorted(members.items())]
