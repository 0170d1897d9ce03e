"""What differs between compared runs besides their answers, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lladav_eval.reports.comparable import other_media
from lladav_eval.reports.reference import OUR_PROTOCOLS
from lladav_eval.reports.run_data import RunData


def what_differs(runs: Sequence[RunData], labels: Sequence[str], common: Mapping[str, Sequence[int]]) -> list[str]:
    """Samples that not all runs have, metrics, questions, figures that are no means, settings and machines.

    Args:
        common: doc_ids that all runs have, by task.
    """
    notes = []
    for run, label in zip(runs, labels, strict=True):
        for name, task in run.tasks.items():
            if name not in common:
                notes.append(f"{task.short} of {label} is left out: not all runs have its samples")
            elif task.n != len(common[name]):
                notes.append(
                    f"{task.short}: {label} has {task.n} samples, of which {len(common[name])} are in all runs"
                )
    for name in common:
        notes += _metrics(name, runs) + _prompts(name, runs, labels, common[name])
        notes += _sums(name, runs) + _settings(name, runs) + _served(name, runs, labels)
    machines = {run.machine for run in runs}
    if len(machines) > 1:
        shown = "; ".join(f"{label}: {run.machine or 'not recorded'}" for run, label in zip(runs, labels, strict=True))
        notes.append(f"times were taken on other machines or settings: {shown}")
    return notes


def _metrics(name: str, runs: Sequence[RunData]) -> list[str]:
    task, protocol = runs[0].tasks[name], runs[0].protocol
    if task.headline == protocol or task.headline not in OUR_PROTOCOLS:
        return []
    return [f"{task.short}: shown is {task.headline}, as there is no {protocol} figure"]


def _prompts(name: str, runs: Sequence[RunData], labels: Sequence[str], doc_ids: Sequence[int]) -> list[str]:
    """How many questions, and what they show, differ from the first run's."""
    notes = []
    for run, label in zip(runs[1:], labels[1:], strict=True):
        other = sum(runs[0].samples[name, row].prompt != run.samples[name, row].prompt for row in doc_ids)
        if other:
            notes.append(
                f"{run.tasks[name].short}: {label} was asked {other} of {len(doc_ids)} questions in other words"
            )
        if media := other_media(name, doc_ids, runs[0], run):
            notes.append(f"{run.tasks[name].short}: of {label}, {media}")
    return notes


def _sums(name: str, runs: Sequence[RunData]) -> list[str]:
    """Figures as reported where they are no means over samples, which is what the table shows."""
    first = runs[0].tasks[name]
    metrics = [run.tasks[name].metrics.get(first.headline) for run in runs]
    reported = [metric for metric in metrics if metric is not None]
    if all(metric.is_mean for metric in reported):
        return []
    shown = ", ".join(f"{metric.value:.2f}" for metric in reported)
    return [f"{first.short}: {first.headline} as reported is {shown}"]


def _settings(name: str, runs: Sequence[RunData]) -> list[str]:
    settings = [run.tasks[name].settings for run in runs]
    notes = []
    for setting in sorted({key for found in settings for key in found}):
        values = [found.get(setting) for found in settings]
        if any(value != values[0] for value in values):
            shown = ", ".join(repr(value) for value in values)
            notes.append(f"{runs[0].tasks[name].short}: {setting} is {shown}")
    return notes


def _served(name: str, runs: Sequence[RunData], labels: Sequence[str]) -> list[str]:
    """Several models that answered behind one endpoint: its figures are of none of them."""
    return [
        f"{run.tasks[name].short} of {label} was answered by {', '.join(run.tasks[name].served_models)}"
        for run, label in zip(runs, labels, strict=True)
        if len(run.tasks[name].served_models) > 1
    ]
