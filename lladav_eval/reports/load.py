"""A finished run directory, read back for the reports. What is missing or malformed is named by file and field.

Only the named fields are taken over. What else a manifest holds (host, command, settings of the machine) never reaches
a report, so that nothing private can.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lladav_eval.approximate import in_use
from lladav_eval.errors import UsageError
from lladav_eval.reports.fields import Fields
from lladav_eval.reports.reference import OUR_PROTOCOLS
from lladav_eval.runs.store import RunDirectory, read_json
from lladav_eval.scoring.cost import NAMES

PREFIX = "lladav_"
KINDS = ("autoregressive", "diffusion", "hybrid", "unstated")
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

    @property
    def approximate(self) -> str | None:
        """The approximate decoding modes in use, such as ``cache=dual:32``; None if decoding was exact."""
        return in_use(self.settings)

    @property
    def short(self) -> str:
        """The name without our prefix."""
        return self.name.removeprefix(PREFIX)


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of samples.jsonl."""

    task: str
    doc_id: int
    prompt: str
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
    """One of KINDS; ``unstated`` where the model's adapter does not say."""
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


def protocol_of(metric: str, run: RunData) -> str:
    """What a metric follows: our tasks name their metrics after protocols, others have but the run's."""
    return metric if metric in OUR_PROTOCOLS else run.protocol


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def load_run(path: str | Path) -> RunData:
    """Read a run directory. Raises UsageError where it is not one, is unfinished, or contradicts itself."""
    directory = RunDirectory(path)
    if not directory.path.is_dir():
        raise UsageError(f"{directory.path} is not a run directory: give a folder that `lladav-eval run` wrote")
    manifest = Fields(read_json(directory.manifest), directory.manifest)
    session = _finished(manifest, directory)
    results = Fields(read_json(directory.results), directory.results)
    for fields in (manifest, results):
        if fields.get("schema", int) != 1:
            raise fields.wrong("schema", "1, the only version this program reads")
    code = results.inner("code")
    git = code.inner("git") if code.has("git") else None
    facts = manifest.inner("tasks")
    tasks = {
        name: _task(name, results.inner("tasks").inner(name), facts.inner(name)) for name in results.names("tasks")
    }
    model = manifest.inner("model")
    kind = model.text_or_none("kind")
    return RunData(
        path=directory.path,
        model=results.get("model", str),
        kind=kind if kind in KINDS else "unstated",  # an endpoint or recorded answers: how they decode isn't known
        fingerprint=results.get("fingerprint", str),
        protocol=results.get("protocol", str),
        commit=git.get("commit", str) if git else None,
        dirty=bool(git and git.get("dirty", bool)),
        date=results.text_or_none("date") or session.get("ended", str),
        machine=_machine(manifest),
        tasks=tasks,
        samples=_samples(directory.samples, tasks),
    )


def _finished(manifest: Fields, directory: RunDirectory) -> Fields:
    """The last session of the manifest. Raises UsageError unless it is complete."""
    sessions = manifest.get("sessions", list)
    if not sessions:
        raise manifest.wrong("sessions", "a list of at least one session")
    last = Fields(sessions[-1], manifest.path, "sessions[-1].")
    status = last.get("status", str)
    if status != "complete":
        raise UsageError(
            f"the run {directory.path} is not finished ({status}): resume it with the command that began it"
        )
    return last


def _task(name: str, fields: Fields, facts: Fields) -> Task:
    metrics = {metric: _metric(fields.inner("metrics").inner(metric)) for metric in fields.names("metrics")}
    headline = fields.get("headline", str)
    if headline not in metrics:
        raise fields.wrong("headline", f"one of the task's metrics ({', '.join(metrics)})")
    counts = {kind: fields.get(kind, int) for kind in ("n", *STATUSES)}
    if counts["n"] < 1 or counts["n"] != sum(counts[kind] for kind in STATUSES):
        raise fields.wrong("n", "the sum of scored, failed, unparsed and empty, and at least 1")
    scale = fields.get("scale", str)
    if scale not in ("fraction", "points"):
        raise fields.wrong("scale", "'fraction' or 'points'")
    return Task(
        name=name,
        **counts,
        headline=headline,
        metrics=metrics,
        scale=scale,
        version=str(fields.value("version")),
        family=fields.text_or_none("family"),
        forward_passes_per_sample=fields.number_or_none("forward_passes_per_sample"),
        seconds_per_sample=fields.number_or_none("seconds_per_sample"),
        rows=facts.get("rows", int),
        settings=facts.get("settings", dict),
        changed=fields.get("changed", dict) if fields.has("changed") else {},
        figures=_figures(fields.inner("figures")) if fields.has("figures") else {},
        dataset_path=facts.get("dataset_path", str),
        dataset_name=facts.text_or_none("dataset_name"),
        split=facts.text_or_none("split"),
        data_revision=_revision(facts),
    )


def _revision(facts: Fields) -> str | None:
    """What pins the data: ``data_revision``, or a ``dataset_fingerprint`` that is a commit or a digest of the content.

    The fingerprints that ``datasets`` makes up for local files change with the files' times, so they pin nothing.
    """
    fingerprint = facts.text_or_none("dataset_fingerprint")
    pinned = fingerprint if fingerprint and re.fullmatch("local:.+|[0-9a-f]{40}", fingerprint) else None
    return facts.text_or_none("data_revision") or pinned


def _machine(manifest: Fields) -> str:
    model = manifest.inner("model")
    device = (model.text_or_none("device") or "").partition(":")[0]
    batch = manifest.inner("spec").value("batch_size") if manifest.has("spec") else None
    size = f"batch size {batch}" if isinstance(batch, int) else ""
    return ", ".join(filter(None, (device, model.text_or_none("dtype"), size)))


def _figures(fields: Fields) -> dict[str, dict[str, float]]:
    return {
        protocol: {name: fields.inner(protocol).number(name) for name in fields.names(protocol)}
        for protocol in OUR_PROTOCOLS
        if fields.has(protocol)
    }


def _metric(fields: Fields) -> Metric:
    low, high = fields.number_or_none("low"), fields.number_or_none("high")
    if (low is None) != (high is None):
        raise fields.wrong("high" if high is None else "low", "a number, as the other end of the interval is one")
    is_mean = fields.get("is_mean", bool) if fields.has("is_mean") else low is not None
    return Metric(fields.number("value"), low, high, fields.text_or_none("method"), is_mean)


def _samples(path: Path, tasks: Mapping[str, Task]) -> dict[tuple[str, int], Sample]:
    """Every sample by (task, doc_id); the counts must be those of results.json."""
    samples: dict[tuple[str, int], Sample] = {}
    for fields in _lines(path):
        sample = _sample(fields)
        if sample.identity in samples:
            raise fields.wrong("doc_id", f"given once; {sample.task} {sample.doc_id} is there twice")
        samples[sample.identity] = sample
    found = dict.fromkeys(tasks, 0)
    for task, _ in samples:
        if task not in found:
            raise UsageError(f"{path}: the task {task} is not in results.json: score the run again")
        found[task] += 1
    for name, count in found.items():
        if count != tasks[name].n:
            raise UsageError(f"{path}: {count} samples of {name}, but results.json says {tasks[name].n}: run it again")
    return samples


def _lines(path: Path) -> Iterator[Fields]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                where = f"line {number}: "
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UsageError(f"{path}, line {number}: not valid JSON ({error})") from error
                yield Fields(value, path, where)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read ({error}): is this a finished run directory?") from error


def _sample(fields: Fields) -> Sample:
    status = fields.get("status", str)
    if status not in STATUSES:
        raise fields.wrong("status", "one of " + ", ".join(STATUSES))
    metrics = fields.inner("metrics")
    passes, seconds = fields.get("forward_passes", int), fields.number("seconds")
    more = fields.inner("cost") if fields.has("cost") else Fields({}, fields.path)
    return Sample(
        task=fields.get("task", str),
        doc_id=fields.get("doc_id", int),
        prompt=fields.get("prompt", str),
        target=fields.value("target"),
        text=fields.get("text", str),
        extracted=fields.text_or_none("extracted"),
        status=status,
        error=fields.text_or_none("error"),
        category=fields.text_or_none("category"),
        cluster=fields.text_or_none("cluster"),
        items=fields.get("items", dict) if fields.has("items") else {},
        metrics={name: metrics.number(name) for name in fields.names("metrics")},
        forward_passes=passes,
        seconds=seconds,
        tokens=len(fields.get("token_ids", list)),
        stop_reason=fields.get("stop_reason", str),
        cost={
            **{name: more.number_or_none(name) for name in NAMES},
            "forward_passes": passes or None,
            "seconds": seconds or None,
        },
    )
