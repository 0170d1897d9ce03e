"""Small finished runs on disk, written through the real store, manifest and aggregation, without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lladav_eval.records import RunSpec
from lladav_eval.runs import manifest
from lladav_eval.runs.store import RunDirectory
from lladav_eval.scoring.aggregate import Scale, count, summarise
from lladav_eval.scoring.lmms import figure, shares_of

HOSTILE = (
    "[red]x[/red] \x1b[31m\x1b]0;title\x07 | <script>alert('x')</script> [a](javascript:b) `code` \u202eevil\n"
    "::error title=x::stop\r\n# head\n=cmd|' /C calc'!A0 $x$ @someone 100% \\input{/etc/passwd} "
    "]]> &amp; \x00 </details>"
)


@dataclass
class Sheet:
    """One task of a run: a value per sample."""

    values: Sequence[float]
    metric: str = "accuracy"
    scale: Scale = "fraction"
    categories: Sequence[str | None] | None = None
    clusters: Sequence[str | None] | None = None
    family: str | None = None
    items: Sequence[Mapping[str, Any]] | None = None
    """Of the metric, where its figure is made of them and is no mean of ``values``."""
    changed: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    texts: Mapping[int, str] = field(default_factory=dict)
    statuses: Mapping[int, str] = field(default_factory=dict)
    targets: Mapping[int, str] = field(default_factory=dict)
    prompts: Mapping[int, str] = field(default_factory=dict)
    media: Mapping[int, str] = field(default_factory=dict)
    more_metrics: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """None: the task doesn't give the metric to this sample."""
    doc_ids: Sequence[int] | None = None
    version: str = "1.0"
    settings: Mapping[str, Any] = field(default_factory=lambda: {"gen_length": 2, "steps": 2})
    data_revision: str | None = None
    dataset_path: str = "parquet"
    rows: int | None = None
    """Of the split, where only the first ones were asked; None: all of them were."""
    seconds: float = 0.5
    forward_passes: int = 4
    cost: Mapping[str, float] | None = None
    """Of every answered sample; None writes a run as versions did that recorded none."""


@dataclass(frozen=True)
class Model:
    """What the manifest asks of an answerer."""

    name: str
    kind: str
    fingerprint: str = "weights-1"

    def description(self) -> dict[str, Any]:
        return {"kind": self.kind, "dtype": "float32", "device": "cpu"}

    def answer(self, questions: Sequence[Any]) -> list[Any]:
        raise NotImplementedError


def write_run(
    path: Path,
    tasks: Mapping[str, Sheet],
    model: str = "toy",
    kind: str = "diffusion",
    protocol: Any = "strict",
    status: str = "complete",
) -> Path:
    """A finished run; tasks by their name without prefix, those of others by ``own:`` and their name."""
    named = {
        name.removeprefix("own:") if name.startswith("own:") else f"lladav_{name}": sheet
        for name, sheet in tasks.items()
    }
    directory = RunDirectory(path)
    directory.create()
    spec = RunSpec(
        tasks=tuple(named), model="openai:m@https://user:hunter2@example.org/?token=hidden", protocol=protocol
    )
    facts = {name: _facts(sheet) for name, sheet in named.items()}
    answerer = Model(model, kind)
    record = manifest.begin(spec, answerer, facts, None)
    record["code"] = {"git": {"commit": "0123456789abcdef", "dirty": False}}
    directory.write_json(directory.manifest, manifest.end(record, status))
    directory.write_lines(directory.samples, (row for name, sheet in named.items() for row in _rows(name, sheet)))
    results = {
        "schema": 1,
        "model": model,
        "fingerprint": answerer.fingerprint,
        "protocol": protocol,
        "date": manifest.now(),
        "code": record["code"],
        "tasks": {name: _summary(sheet) for name, sheet in named.items()},
    }
    directory.write_json(directory.results, results)
    return path


def _facts(sheet: Sheet) -> dict[str, Any]:
    n = len(sheet.values)
    return {
        "version": sheet.version, "dataset_path": sheet.dataset_path, "dataset_name": None, "split": "test",
        "dataset_fingerprint": "changes with the file's time", "rows": sheet.rows or n, "n": n,
        "scale": sheet.scale, "settings": dict(sheet.settings), "data_revision": sheet.data_revision,
    }  # fmt: skip


def _status(sheet: Sheet, index: int) -> str:
    return sheet.statuses.get(index, "scored")


def _rows(name: str, sheet: Sheet) -> list[dict[str, Any]]:
    rows = []
    for index, value in enumerate(sheet.values):
        status = _status(sheet, index)
        text = sheet.texts.get(index, "A" if value else "B")
        rows.append(
            {
                "task": name, "doc_id": sheet.doc_ids[index] if sheet.doc_ids else index, "key": f"{index:032x}",
                "prompt": sheet.prompts.get(index, f"question {index}"), "media": sheet.media.get(index),
                "target": sheet.targets.get(index, "A"),
                "text": text, "extracted": text if status == "scored" else None, "status": status,
                "error": "no picture" if status == "failed" else None,
                "category": sheet.categories[index] if sheet.categories else None,
                "cluster": sheet.clusters[index] if sheet.clusters else None,
                **({"items": {sheet.metric: sheet.items[index]}} if sheet.items else {}),
                "metrics": {
                    sheet.metric: value,
                    **{m: v[index] for m, v in sheet.more_metrics.items() if v[index] is not None},
                },
                "token_ids": [1, 2], "forward_passes": sheet.forward_passes,
                "stop_reason": "failed" if status == "failed" else "length",
                "seconds": sheet.seconds,
                **({} if sheet.cost is None else {"cost": dict(sheet.cost)}),
            }
        )  # fmt: skip
    return rows


def _metric(sheet: Sheet, name: str, values: Sequence[float | None], kept: Sequence[int]) -> dict[str, Any]:
    items = [values[index] for index in kept if values[index] is not None]
    n = len([value for value in values if value is not None])
    found = summarise(name, items, n - len(items), sheet.scale, lambda items: sum(items) / len(items), list)
    return {**dataclasses.asdict(found), "n": n}


def _summary(sheet: Sheet) -> dict[str, Any]:
    counts = count(_status(sheet, index) for index in range(len(sheet.values)))
    metrics = {sheet.metric: sheet.values, **sheet.more_metrics}
    kept = [index for index in range(len(sheet.values)) if _status(sheet, index) != "failed"]
    summaries = {name: _metric(sheet, name, values, kept) for name, values in metrics.items()}
    if sheet.items:
        summaries[sheet.metric] = dataclasses.asdict(
            summarise(
                sheet.metric, sheet.items, 0, sheet.scale, partial(figure, str(sheet.family), "strict"), list,
                sheet.clusters, partial(shares_of, sheet.family),
            )
        )  # fmt: skip
    return {
        **dataclasses.asdict(counts), "version": sheet.version, "family": sheet.family,
        "headline": sheet.metric, "metrics": summaries, "changed": dict(sheet.changed),
        "figures": {protocol: dict(found) for protocol, found in sheet.figures.items()},
        "scale": sheet.scale, "forward_passes_per_sample": float(sheet.forward_passes),
        "seconds_per_sample": sheet.seconds,
    }  # fmt: skip
