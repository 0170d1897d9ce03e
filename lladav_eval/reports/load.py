"""A finished run directory, read back for the reports. What is missing or malformed is named by file and field.

Only the named fields are taken over. What else a manifest holds (host, command, settings of the machine) never reaches
a report, so that nothing private can.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from lladav_eval.errors import UsageError
from lladav_eval.reports.fields import Fields
from lladav_eval.reports.reference import OUR_PROTOCOLS
from lladav_eval.reports.run_data import STATUSES, Metric, RunData, Sample, Task
from lladav_eval.runs.store import RunDirectory, read_json
from lladav_eval.scoring.cost import NAMES

KINDS = ("autoregressive", "diffusion", "hybrid", "unstated")


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
    _check_facts(manifest, results)
    # Earlier versions wrote the commit at the end of a run into results.json; the answers are of that at its beginning.
    code = (manifest if manifest.has("code") else results).inner("code")
    git = code.inner("git") if code.has("git") else None
    facts, found = manifest.inner("tasks"), results.inner("tasks")
    without = {name for name in results.names("tasks") if not found.inner(name).names("metrics")}
    tasks = {
        name: _task(name, found.inner(name), facts.inner(name))
        for name in results.names("tasks")
        if name not in without
    }
    if without and not tasks:
        raise UsageError(f"{directory.path} has no figure to report: its tasks give none, only files to hand in")
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
        samples=_samples(directory.samples, tasks, without),
    )


def _check_facts(manifest: Fields, results: Fields) -> None:
    """What stands beside the figures is what the run was. Raises UsageError where one of the two files was changed."""
    pairs = [("protocol", results.get("protocol", str), manifest.get("protocol", str))]
    pairs += [("fingerprint", results.get("fingerprint", str), manifest.inner("model").get("fingerprint", str))]
    for name in results.names("tasks"):
        task, facts = results.inner("tasks").inner(name), manifest.inner("tasks").inner(name)
        pairs += [(f"tasks.{name}.version", task.value("version"), facts.content.get("version", task.value("version")))]
        shown = task.get("settings", dict) if task.has("settings") else {}
        known = facts.get("settings", dict)
        pairs += [(f"tasks.{name}.settings.{key}", value, known.get(key)) for key, value in shown.items()]
    for name, said, true in pairs:
        if said != true:
            raise UsageError(
                f"{results.path}: {name} is {said!r:.60}, but manifest.json says {true!r:.60}: run it again"
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
    n = fields.get("n", int)
    metrics = {metric: _metric(fields.inner("metrics").inner(metric), n) for metric in fields.names("metrics")}
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
        served_models=tuple(sorted(fields.get("served_models", dict))) if fields.has("served_models") else (),
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


def _metric(fields: Fields, samples: int) -> Metric:
    low, high = fields.number_or_none("low"), fields.number_or_none("high")
    if (low is None) != (high is None):
        raise fields.wrong("high" if high is None else "low", "a number, as the other end of the interval is one")
    is_mean = fields.get("is_mean", bool) if fields.has("is_mean") else low is not None
    n = fields.get("n", int) if fields.has("n") else samples
    return Metric(fields.number("value"), low, high, fields.text_or_none("method"), is_mean, n)


def _samples(path: Path, tasks: Mapping[str, Task], without: Collection[str]) -> dict[tuple[str, int], Sample]:
    """Every sample by (task, doc_id), but of tasks ``without`` a figure; counts and means must be results.json's."""
    samples: dict[tuple[str, int], Sample] = {}
    for fields in _lines(path):
        sample = _sample(fields)
        if sample.task in without:
            continue
        if sample.identity in samples:
            raise fields.wrong("doc_id", f"given once; {sample.task} {sample.doc_id} is there twice")
        samples[sample.identity] = sample
    by_task: dict[str, list[Sample]] = {name: [] for name in tasks}
    for sample in samples.values():
        if sample.task not in by_task:
            raise UsageError(f"{path}: the task {sample.task} is not in results.json: score the run again")
        by_task[sample.task].append(sample)
    for name, found in by_task.items():
        _check_agreement(path, tasks[name], found)
    return samples


def _check_agreement(path: Path, task: Task, samples: list[Sample]) -> None:
    """The figures shown are those of the samples. Raises UsageError where one of the two files was changed."""

    def differ(found: str, said: object) -> UsageError:
        return UsageError(f"{path}: {found}, but results.json says {said}: run it again")

    if len(samples) != task.n:
        raise differ(f"{len(samples)} samples of {task.name}", task.n)
    statuses = Counter(sample.status for sample in samples)
    for status in STATUSES:
        if statuses[status] != getattr(task, status):
            raise differ(f"{statuses[status]} samples of {task.name} are {status}", getattr(task, status))
    for name, metric in task.metrics.items():
        values = [sample.metrics[name] for sample in samples if name in sample.metrics]
        if not metric.is_mean or not len(values) == metric.n == task.n:
            continue
        mean = (100 if task.scale == "fraction" else 1) * math.fsum(values) / task.n
        if not math.isclose(mean, metric.value, rel_tol=1e-6, abs_tol=1e-6):
            raise differ(f"the mean {name} of {task.name} is {mean:.4f}", f"{metric.value:.4f}")


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
        media=fields.text_or_none("media"),
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
