"""Which samples of two runs belong together, and whether the runs may be compared at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lladav_eval.errors import UsageError
from lladav_eval.reports.load import RunData, Sample
from lladav_eval.reports.statistics import Test, is_binary

Scope = Literal["overall", "task", "category"]
_NAMED = 5
"""Samples named in a reason; the number of all is given too."""


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


def incomparable(baseline: RunData, candidate: RunData) -> list[str]:
    """Why the runs can't be compared, each reason a sentence; empty if they can."""
    reasons = []
    if baseline.protocol != candidate.protocol:
        reasons.append(f"the protocols differ: baseline {baseline.protocol}, candidate {candidate.protocol}")
    for there, run in (("baseline", candidate), ("candidate", baseline)):
        other = baseline if there == "baseline" else candidate
        missing = [task.short for name, task in other.tasks.items() if name not in run.tasks]
        if missing:
            reasons.append(f"only the {there} has the task{'s' * (len(missing) > 1)} {', '.join(missing)}")
    for name in baseline.tasks:
        if name in candidate.tasks:
            reasons += task_differences(name, baseline, candidate)
    return reasons


def task_differences(name: str, baseline: RunData, candidate: RunData) -> list[str]:
    """Why one task of two runs can't be compared, each reason a sentence; empty if it can."""
    ours, theirs = baseline.tasks[name], candidate.tasks[name]
    reasons = []
    for field_name, title in (
        ("version", "task version"), ("headline", "headline metric"), ("scale", "scale"),
        ("dataset_path", "data set"), ("dataset_name", "data set name"), ("split", "split"),
    ):  # fmt: skip
        before, after = getattr(ours, field_name), getattr(theirs, field_name)
        if before != after:
            reasons.append(f"{ours.short}: the {title} differs: baseline {before}, candidate {after}")
    revisions = ours.data_revision, theirs.data_revision
    if None not in revisions and revisions[0] != revisions[1]:
        reasons.append(f"{ours.short}: the data differ: baseline {revisions[0]}, candidate {revisions[1]}")
    before_ids = {doc_id for task, doc_id in baseline.samples if task == name}
    after_ids = {doc_id for task, doc_id in candidate.samples if task == name}
    for there, ids in (("baseline", before_ids - after_ids), ("candidate", after_ids - before_ids)):
        if ids:
            reasons.append(f"{ours.short}: {len(ids)} samples only in the {there} (doc_id {_some(ids)})")
    for title in ("prompt", "target", "category"):
        changed = {
            doc_id
            for doc_id in before_ids & after_ids
            if _differs(
                title,
                getattr(baseline.samples[name, doc_id], title),
                getattr(candidate.samples[name, doc_id], title),
            )
        }
        if changed:
            reasons.append(f"{ours.short}: the {title} of {len(changed)} samples differs (doc_id {_some(changed)})")
    return reasons


def _differs(title: str, before: Any, after: Any) -> bool:
    """Runs made before categories were recorded have none; that is no difference."""
    return before != after and (title != "category" or None not in (before, after))


def _some(ids: set[int]) -> str:
    return ", ".join(map(str, sorted(ids)[:_NAMED])) + (", ..." if len(ids) > _NAMED else "")


@dataclass(frozen=True)
class Group:
    """Paired values: as scored where they lie in -1..1, otherwise as shares of the largest one in either run."""

    scope: Scope
    task: str
    category: str
    metric: str
    identities: tuple[tuple[str, int], ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


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
    )
    return [together, *found]


def _task_group(
    name: str, baseline: RunData, candidate: RunData, metric: str | None = None, test: Test | None = None
) -> Group:
    """The samples of a task, paired; both runs have the same. Raises UsageError where metric or test doesn't fit."""
    task = baseline.tasks[name]
    metric = metric or task.headline
    for run in (baseline, candidate):
        if metric not in run.tasks[name].metrics:
            known = ", ".join(run.tasks[name].metrics)
            raise UsageError(f"{run.path}: the task {task.short} has no metric {metric!r}; choose one of {known}")
    samples = baseline.of_task(name)
    before = [value_of(sample, metric, baseline) for sample in samples]
    after = [value_of(candidate.samples[sample.identity], metric, candidate) for sample in samples]
    if test == "mcnemar" and not (is_binary(before) and is_binary(after)):
        raise UsageError(f"--test mcnemar: samples of {task.short} are not just right or wrong; use --test bootstrap")
    largest = max(1.0, *map(abs, before), *map(abs, after))
    identities = tuple(sample.identity for sample in samples)
    return Group(
        "task", name, "", metric, identities, tuple(x / largest for x in before), tuple(x / largest for x in after)
    )


def value_of(sample: Sample, metric: str, run: RunData) -> float:
    """A sample's value of a metric. Raises UsageError where it has none."""
    if metric not in sample.metrics:
        raise UsageError(
            f"{run.path}: {sample.task} {sample.doc_id} has no value of its own for {metric}, so samples can't be "
            "paired; choose another metric with --metric"
        )
    return sample.metrics[metric]


def _categories(group: Group, baseline: RunData, candidate: RunData) -> list[Group]:
    """One group per category, as either run recorded it; none where the task knows fewer than two."""
    members: dict[str, list[int]] = {}
    for index, identity in enumerate(group.identities):
        category = baseline.samples[identity].category or candidate.samples[identity].category
        if category is not None:
            members.setdefault(category, []).append(index)
    if len(members) < 2:
        return []
    return [
        Group(
            "category",
            group.task,
            category,
            group.metric,
            tuple(group.identities[index] for index in indices),
            tuple(group.before[index] for index in indices),
            tuple(group.after[index] for index in indices),
        )
        for category, indices in sorted(members.items())
    ]
