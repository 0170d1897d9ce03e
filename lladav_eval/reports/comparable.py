"""Whether runs may be compared at all, and if not, why.

A regression wants the same samples of the same tasks; a comparison takes those that runs have in common, if the
figures mean the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from lladav_eval.errors import UsageError
from lladav_eval.reports.run_data import RunData, Task

_NAMED = 5
"""Samples named in a reason; the number of all is given too."""

_RECORDED_LATER = ("category", "media")
"""Fields of a sample that earlier versions had not."""
_DATA_FACTS = (("dataset_path", "data set"), ("dataset_name", "data set name"), ("split", "split"))
"""Fields of a task that say which data it asks, with their titles."""


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
    facts = (("version", "task version"), ("headline", "headline metric"), ("scale", "scale"), *_DATA_FACTS)
    for field_name, title in facts:
        before, after = getattr(ours, field_name), getattr(theirs, field_name)
        # Where all figures are 0, a scale that the task doesn't state couldn't be told, and makes no difference.
        if before != after and not (field_name == "scale" and any(_all_zero(task) for task in (ours, theirs))):
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
        changed = _differing(title, name, before_ids & after_ids, baseline, candidate)
        if changed:
            reasons.append(f"{ours.short}: the {title} of {len(changed)} samples differs (doc_id {_some(changed)})")
    return reasons


def _all_zero(task: Task) -> bool:
    return not any(metric.value for metric in task.metrics.values())


def _differing(title: str, name: str, doc_ids: Iterable[int], first: RunData, second: RunData) -> set[int]:
    """Samples of which two runs say other things; None is no other one where earlier versions recorded nothing."""
    found = set()
    for doc_id in doc_ids:
        before, after = (getattr(run.samples[name, doc_id], title) for run in (first, second))
        if before != after and (title not in _RECORDED_LATER or None not in (before, after)):
            found.add(doc_id)
    return found


def other_media(name: str, doc_ids: Iterable[int], first: RunData, second: RunData) -> str | None:
    """How many of some samples, and which, show other pictures or videos in the second run; None if none is known to.

    No reason against comparing: other versions of a decoder give other pixels too.
    """
    differ = _differing("media", name, doc_ids, first, second)
    return f"{len(differ)} samples show other pictures or videos (doc_id {_some(differ)})" if differ else None


def _some(ids: set[int]) -> str:
    return ", ".join(map(str, sorted(ids)[:_NAMED])) + (", ..." if len(ids) > _NAMED else "")


def refuse_other_data(first: RunData, other: RunData) -> None:
    """Raises UsageError where figures of the two would mean different things: other protocol, data or right answers."""
    if first.protocol != other.protocol:
        raise UsageError(
            f"{other.path} follows the protocol {other.protocol}, {first.path} {first.protocol}: compare runs of one"
        )
    for name in first.tasks.keys() & other.tasks.keys():
        ours, theirs = first.tasks[name], other.tasks[name]
        for field_name, title in _DATA_FACTS:
            before, after = getattr(ours, field_name), getattr(theirs, field_name)
            if before != after:
                raise UsageError(f"{ours.short}: the {title} differs: {first.path} has {before}, {other.path} {after}")
        revisions = ours.data_revision, theirs.data_revision
        if None not in revisions and revisions[0] != revisions[1]:
            raise UsageError(
                f"{ours.short}: the data differ: {first.path} has {revisions[0]}, {other.path} {revisions[1]}"
            )
        if ours.version != theirs.version:
            raise UsageError(
                f"{ours.short}: {first.path} ran version {ours.version} of the task, {other.path} {theirs.version}"
            )
    for identity, sample in first.samples.items():
        if identity in other.samples and other.samples[identity].target != sample.target:
            raise UsageError(f"{sample.task} {sample.doc_id}: {first.path} and {other.path} have other right answers")
