"""The data files of the HTML report: small scripts, because a page opened from disk may load scripts but not fetch.

``data/index.js`` holds a few short columns for every sample, enough to list and filter; ``data/samples-NNNN.js`` the
full texts and ``data/trace-NNNN.js`` the denoising steps, in parts that the page loads when they are needed;
``data/tokens.js`` the texts of the token ids that the steps mention.
Each file calls one function of app.js with one JSON value in which every untrusted text is a string, never a key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lladav_eval.records import TraceStep
from lladav_eval.reports.escape import shorten
from lladav_eval.reports.output import write_report
from lladav_eval.reports.run_data import STATUSES, RunData, Sample

PART_ROWS = 250
PART_BYTES = 400_000
"""A part ends after this many rows or bytes, whichever comes first."""
SNIPPET = 48
"""Characters of an answer shown in the list."""

Trace = Sequence[TraceStep]


@dataclass(frozen=True)
class Side:
    """One run of the report, and how to get what its samples.jsonl does not hold."""

    run: RunData
    trace_of: Callable[[str, int], Trace | None] | None = None
    """(task, doc_id) -> the sample's denoising steps; None where none were recorded."""
    token_text: Callable[[int], str] | None = None
    """Token id -> its text; None where the run's own tokenizer isn't at hand, so that ids are shown."""
    undecoded: str | None = None
    """Why ids are shown."""


@dataclass(frozen=True)
class Row:
    """One sample in every run of the report; None where a run lacks it."""

    task: str
    doc_id: int
    samples: tuple[Sample | None, ...]

    @property
    def first(self) -> Sample:
        """The sample of the first run that has it."""
        return next(sample for sample in self.samples if sample is not None)

    @property
    def category(self) -> str | None:
        """As the first run that recorded one says."""
        return next((sample.category for sample in self.samples if sample is not None and sample.category), None)


def join_runs(runs: Sequence[RunData]) -> list[Row]:
    """The samples of one or two runs side by side: tasks in the first run's order, then by doc_id."""
    tasks = list(dict.fromkeys(name for run in runs for name in run.tasks))
    order = {name: position for position, name in enumerate(tasks)}
    identities = {identity for run in runs for identity in run.samples}
    ranked = sorted(identities, key=lambda identity: (order[identity[0]], identity[1]))
    return [Row(*identity, tuple(run.samples.get(identity) for run in runs)) for identity in ranked]


def script(function: str, *arguments: Any) -> str:
    """A script that hands JSON values to a function of the page.

    ASCII only, so that no line separator or stray surrogate can break it, and without ``<``, so that nothing in it can
    be read as a tag wherever the text is put.
    """
    texts = (json.dumps(value, separators=(",", ":"), allow_nan=False) for value in arguments)
    return f"lladavReport.{function}({','.join(texts)});\n".replace("<", "\\u003c")


def target_text(target: Any) -> str:
    """The right answer as text; several accepted ones a line each."""
    if target is None:
        return ""
    return "\n".join(map(str, target)) if isinstance(target, list) else str(target)


def index_value(rows: Sequence[Row], sides: Sequence[Side], parts: Sequence[int], traces: Sequence[int]) -> Any:
    """What the page needs before any sample is opened. ``parts`` and ``traces``: first row of each file."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    numbers = {name: number for number, name in enumerate(tasks)}
    categories: dict[str, dict[str, int]] = {name: {} for name in tasks}
    for row in rows:
        if row.category is not None:
            categories[row.task].setdefault(row.category, len(categories[row.task]))
    runs = [side.run for side in sides]
    return {
        "runs": [{"label": run.label, "model": run.model, "facts": _facts(run)} for run in runs],
        "tasks": [_task(name, runs, list(categories[name])) for name in tasks],
        "statuses": STATUSES,
        "decoded": [side.token_text is not None for side in sides],
        "undecoded": [side.undecoded or "the checkpoint's tokenizer was not found" for side in sides],
        "parts": list(parts),
        "traces": list(traces),
        "task": [numbers[row.task] for row in rows],
        "doc": [row.doc_id for row in rows],
        "category": [categories[row.task].get(row.category or "", -1) for row in rows],
        "target": [shorten(target_text(row.first.target).replace("\n", " | "), SNIPPET // 2) for row in rows],
        "status": [[_status(row.samples[place]) for row in rows] for place in range(len(sides))],
        "value": [[_value(row.samples[place], run) for row in rows] for place, run in enumerate(runs)],
        "answer": [[_snippet(row.samples[place]) for row in rows] for place in range(len(sides))],
    }


def _facts(run: RunData) -> str:
    """What must stand beside a figure."""
    mode = f", approximate decoding ({run.approximate})" if run.approximate else ""
    return f"protocol {run.protocol}, commit {run.version}, {run.date[:10]}{mode}"


def _task(name: str, runs: Sequence[RunData], categories: list[str]) -> dict[str, Any]:
    return {
        "name": next(run.tasks[name].short for run in runs if name in run.tasks),
        "categories": categories,
        "settings": [_shape(run.tasks[name].settings) if name in run.tasks else None for run in runs],
    }


def _shape(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the player needs."""
    return {key: settings.get(key) for key in ("gen_length", "block_length", "remasking")}


def _status(sample: Sample | None) -> int:
    return -1 if sample is None else STATUSES.index(sample.status)


def _value(sample: Sample | None, run: RunData) -> float | None:
    """The headline metric; None where the run lacks the sample or the sample has no value of its own."""
    if sample is None:
        return None
    value = sample.metrics.get(run.tasks[sample.task].headline)
    return None if value is None else round(value, 4)


def _snippet(sample: Sample | None) -> str:
    if sample is None:
        return ""
    return shorten(" ".join((sample.text if sample.extracted is None else sample.extracted).split()), SNIPPET)


def sample_value(row: Row, media: Any, traced: Sequence[bool]) -> dict[str, Any]:
    """Everything the page shows of one sample but its trace."""
    return {
        "prompt": row.first.prompt,
        "target": target_text(row.first.target),
        "media": media,
        "runs": [
            None if sample is None else _run_value(sample, row.first, has_trace)
            for sample, has_trace in zip(row.samples, traced, strict=True)
        ],
    }


def _run_value(sample: Sample, first: Sample, traced: bool) -> dict[str, Any]:
    return {
        "prompt": None if sample.prompt == first.prompt else sample.prompt,
        "text": sample.text,
        "extracted": sample.extracted,
        "error": sample.error,
        "metrics": [[name, value] for name, value in sample.metrics.items()],
        "passes": sample.cost["forward_passes"],
        "seconds": sample.cost["seconds"],
        "tokens": sample.cost["output_tokens"] if sample.cost["forward_passes"] is None else sample.tokens,
        "stop": sample.stop_reason,
        "traced": traced,
    }


class TokenTable:
    """The texts of the token ids that a run's traces mention."""

    def __init__(self, token_text: Callable[[int], str] | None) -> None:
        self._token_text = token_text
        self._texts: dict[int, str] = {}

    def steps(self, trace: Trace) -> list[list[Any]]:
        """[step, block, positions, ids, confidences] of every step; a confidence that is no number becomes null."""
        for step in trace:
            for token in step.token_ids:
                if self._token_text is not None and token not in self._texts:
                    self._texts[token] = self._token_text(token)
        return [
            [
                step.step, step.block, list(step.positions), list(step.token_ids),
                [round(value, 4) if math.isfinite(value) else None for value in step.confidences],
            ]
            for step in trace
        ]  # fmt: skip

    def value(self) -> list[list[Any]]:
        """[id, text] pairs of the ids met so far."""
        return [[token, text] for token, text in sorted(self._texts.items())]


class PartWriter:
    """Writes consecutive rows into numbered files; ``starts`` is the first row of each."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.starts: list[int] = []
        self._folder, self._kind = folder, kind
        self._rows: list[list[Any]] = []
        self._size = 0

    def add(self, row: int, value: Any) -> None:
        """Add one row; rows must come in rising order."""
        size = len(json.dumps(value))
        if self._rows and (len(self._rows) == PART_ROWS or self._size + size > PART_BYTES):
            self.flush()
        self._rows.append([row, value])
        self._size += size

    def flush(self) -> None:
        """Write what has been collected; call it once more after the last row."""
        if not self._rows:
            return
        number = len(self.starts)
        write_report(self._folder / f"{self._kind}-{number:04d}.js", script("part", self._kind, number, self._rows))
        self.starts.append(self._rows[0][0])
        self._rows, self._size = [], 0


def traces_of(row: Row, sides: Sequence[Side]) -> Iterator[Trace | None]:
    """The denoising steps of a row, one entry per run."""
    for sample, side in zip(row.samples, sides, strict=True):
        if sample is None or side.trace_of is None:
            yield None
        else:
            yield side.trace_of(row.task, row.doc_id)
