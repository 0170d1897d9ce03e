"""What differs between compared runs besides their answers, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lladav_eval.reports.load import RunData


def what_differs(runs: Sequence[RunData], labels: Sequence[str], common: Mapping[str, Sequence[int]]) -> list[str]:
    """Samples that not all runs have, figures that are no means, and settings.

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
        notes += _sums(name, runs) + _settings(name, runs)
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
