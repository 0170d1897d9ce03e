"""Runs of the toy model on the toy tasks, and what they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import toy

from lladav_eval.records import RunSpec
from lladav_eval.runs.execute import RunResult, execute
from lladav_eval.runs.store import RunDirectory

SPEC = RunSpec(tasks=("lladav_toy_a", "lladav_toy_b"), model="toy", batch_size=3)


def go(out: Path, model: toy.ToyModel, spec: RunSpec = SPEC, **options: Any) -> RunResult:
    """Run what ``spec`` asks with ``model``; options are those of ``execute``."""
    return execute(spec, lambda: model, RunDirectory(out), **options)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_timings(out: Path) -> dict[str, Any]:
    """Everything a run leaves, but for seconds, the date and the record of its sessions."""
    samples = lines(out / "samples.jsonl")
    results = json.loads((out / "results.json").read_text())
    manifest = json.loads((out / "manifest.json").read_text())
    journal = [line["record"] for line in lines(out / "journal.jsonl")]
    for record in (*samples, *journal):
        del record["seconds"]
    for task in results["tasks"].values():
        del task["seconds_per_sample"], task["cost"]["seconds"]
    del manifest["sessions"], results["date"]
    return {"samples": samples, "results": results, "manifest": manifest, "journal": journal}
