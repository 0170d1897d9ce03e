"""What reports know of a finished run: its tasks, figures and samples, as load.py reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lladav_eval.approximate import in_use
from lladav_eval.reports.reference import OUR_PROTOCOLS

PREFIX = "lladav_"
OWN_RULE = "the task's own"
"""Stands where a protocol does, of a task that isn't one of ours, though its name may be a benchmark's."""
STATUSES = ("scored", "unparsed", "empty", "failed")


@dataclass(frozen=True)
class Metric:
    """One metric of one task, in the units shown to people."""

    value: float
    low: float | None
    """Lower end of the 95 % interval; None where the metric is no mean over samples and can't be taken apart."""
    high: float | None
    method: str | None
    is_mean: bool
    """Whether it is the mean of the samples' values."""
    n: int
    """Samples that the task gives it to."""


@dataclass(frozen=True)
class Task:
    """Counts, metrics and cost of one task, and what makes it comparable with another run's."""

    name: str
    n: int
    scored: int
    failed: int
    unparsed: int
    empty: int
    headline: str
    metrics: Mapping[str, Metric]
    scale: str
    """``fraction``: shown on 0-100; ``points``: shown as they are."""
    version: str
    family: str | None
    """The benchmark's scorer; None where the task has its own, and in runs that recorded none."""
    forward_passes_per_sample: float | None
    """Of the answered samples; None where the model doesn't tell."""
    seconds_per_sample: float | None
    rows: int
    """Of the whole split, however many of them were asked."""
    settings: Mapping[str, Any]
    """Generation settings, from the manifest."""
    changed: Mapping[str, Any]
    """Settings that whoever ran it has changed, with the task's own values."""
    figures: Mapping[str, Mapping[str, float]]
    """Protocol -> everything that the benchmark's own tables show; empty where the task is none of ours."""
    dataset_path: str
    dataset_name: str | None
    split: str | None
    data_revision: str | None
    """What pins the data's content; None in runs that recorded none."""
    served_models: tuple[str, ...] = ()
    """What an endpoint calls the models that answered, ascending; empty for others, and where none was recorded."""

    @property
    def approximate(self) -> str | None:
        """The approximate decoding modes in use, such as ``cache=dual:32``; None if decoding was exact."""
        return in_use(self.settings)

    @property
    def asked(self) -> str:
        """How many samples; of how many rows, where it isn't all."""
        return of_all(self.n, self.rows)

    @property
    def short(self) -> str:
        """The name without our prefix."""
        return self.name.removeprefix(PREFIX)

    def changes(self, shown: Sequence[str] = ()) -> str:
        """The changed settings in words, but for those that are ``shown`` elsewhere."""
        return ", ".join(
            f"{name} {self.settings.get(name)} instead of {before}"
            for name, before in self.changed.items()
            if name not in shown
        )

    @property
    def ours(self) -> bool:
        """Whether it is one of this program's tasks; lmms-eval's own go by the same short names."""
        return self.name.startswith(PREFIX)

    @property
    def column(self) -> str:
        """What its scores stand under, where those of other tasks do."""
        return self.short if self.ours else f"{self.name} (own rule)"


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of samples.jsonl."""

    task: str
    doc_id: int
    prompt: str
    media: str | None
    """Hash of the pictures or the video; None where there are none, and in runs that recorded none."""
    target: Any
    text: str
    extracted: str | None
    status: str
    error: str | None
    category: str | None
    cluster: str | None
    """What the row shares with others that count as one observation with it; None where it stands alone."""
    items: Mapping[str, Any]
    """By metric, what a figure is made of that is no mean of the samples' values (scoring/lmms.py)."""
    metrics: Mapping[str, float]
    """Value of each metric for this sample; a metric without a value per sample is absent."""
    forward_passes: int
    seconds: float
    tokens: int
    stop_reason: str
    cost: Mapping[str, float | None]
    """By the names of scoring/cost.py; runs of older versions know but forward passes and seconds."""

    @property
    def answered(self) -> bool:
        """Whether the model gave an answer; its scoring may have failed all the same."""
        return self.stop_reason != "failed"

    @property
    def identity(self) -> tuple[str, int]:
        """What samples of two runs are joined on."""
        return self.task, self.doc_id


@dataclass(frozen=True)
class RunData:
    """A finished run."""

    path: Path
    model: str
    kind: str
    """As the manifest has it (load.KINDS); ``unstated`` where the model's adapter does not say."""
    fingerprint: str
    protocol: str
    commit: str | None
    dirty: bool
    """Whether the working tree differed from the commit."""
    date: str
    """When the results were made, ISO 8601."""
    machine: str
    """Kind of device, number type and batch size, as far as they were recorded: times depend on them."""
    tasks: Mapping[str, Task]
    samples: Mapping[tuple[str, int], Sample] = field(repr=False)

    @property
    def label(self) -> str:
        """Name of the run directory."""
        return self.path.resolve().name

    @property
    def asked(self) -> str:
        """How many samples; of how many rows, where it isn't all."""
        return of_all(len(self.samples), sum(task.rows for task in self.tasks.values()))

    @property
    def version(self) -> str:
        """The commit, short, marked where the tree was dirty."""
        return "no commit" if self.commit is None else self.commit[:10] + ("+" if self.dirty else "")

    @property
    def times_are_shares(self) -> bool:
        """Whether a sample's seconds are its share of the time that was spent. An endpoint's are latencies of requests
        that were in flight together: no rate follows from them."""
        return not self.fingerprint.startswith("openai/")

    @property
    def approximate(self) -> str | None:
        """The approximate modes of all tasks; None if decoding was exact."""
        return "; ".join(dict.fromkeys(task.approximate for task in self.tasks.values() if task.approximate)) or None

    def of_task(self, name: str) -> list[Sample]:
        """The samples of one task, by doc_id."""
        found = [sample for sample in self.samples.values() if sample.task == name]
        return sorted(found, key=lambda sample: sample.doc_id)


def of_all(n: int, rows: int) -> str:
    """A number of samples, with the number of rows where that is larger."""
    return f"{n} of {rows}" if rows > n else str(n)


def of_part(n: int, of: int) -> str:
    """What a figure is of that a task gives to some samples only; empty where it gives it to all."""
    return f"of {n} of the {of} samples, those that the task gives it to" if n != of else ""


def protocol_of(metric: str, task: Task, run: RunData) -> str:
    """What a metric follows: our tasks name their metrics after protocols, or have but the run's; others have none."""
    if not task.ours:
        return OWN_RULE
    return metric if metric in OUR_PROTOCOLS else run.protocol


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    return list(value) if isinstance(value, tuple) else value
