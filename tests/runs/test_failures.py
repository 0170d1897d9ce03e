"""Every way a sample can fail, in one run of a real model: recorded with its reason, counted, retried alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from tiny_checkpoint import write_checkpoint

import lladav_eval.preparing as preparing
from lladav_eval.adapters.models import resolve_model
from lladav_eval.errors import TooManyFailures
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.records import Prompt, Query, Request, RunSpec
from lladav_eval.reports.table import markdown_table
from lladav_eval.runs.execute import RunResult, execute
from lladav_eval.runs.store import RunDirectory

FUNCTIONS = (
    toy.FUNCTIONS
    + """
def doc_to_visual(doc):
    return ["gone.mp4"] if doc["row"] == 3 else [doc["image"].convert("RGB")]

def doc_to_text(doc):
    words = {4: " digit" * 600, 5: " this is no number", 6: " this is too much for the memory"}
    return f"Row {doc['row']}" + words.get(doc["row"], "")
"""
)
REASONS = {
    1: "cannot identify image file",
    2: "truncated",
    3: "the video gone.mp4 is missing",
    4: "the model was trained for 512",
    5: "not finite",
    6: "out of memory with this sample alone",
}
SPEC = RunSpec(tasks=("lladav_toy_a",), model="tiny", batch_size=4, max_failures="6")


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = toy.write_tasks(tmp_path / "tasks", rows=9, unreadable=[1], cut_off=[2])
    (folder / "toy_functions.py").write_text(FUNCTIONS)
    return toy.use_tasks(folder, monkeypatch)


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Row 5's picture turns into numbers that are none; memory runs out whenever row 6 is in the batch."""
    prepare, call = preparing.prepare, BoundPrompts.__call__
    long = {"length": 0}

    def broken(request: Request, *parts: Any) -> Prompt:
        prompt = prepare(request, *parts)
        if request.text.startswith("Row 5"):
            return dataclasses.replace(prompt, pixels=tuple(pixels * torch.nan for pixels in prompt.pixels))
        if request.text.startswith("Row 6"):
            long["length"] = len(prompt.token_ids)
        return prompt

    def limited(self: BoundPrompts, queries: Sequence[Query]) -> list[torch.Tensor]:
        for query in queries:
            text = query.token_ids[query.token_ids >= 0]
            if len(text) - 4 == long["length"] - 1:  # four answer positions more, one placeholder less
                raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, queries)

    monkeypatch.setattr(preparing, "prepare", broken)
    monkeypatch.setattr(BoundPrompts, "__call__", limited)
    return monkeypatch


def go(tmp_path: Path, spec: RunSpec = SPEC, **options: Any) -> RunResult:
    path = str(write_checkpoint(tmp_path / "model"))
    return execute(spec, lambda: resolve_model(path, "cpu", batch_size=4), RunDirectory(tmp_path / "run"), **options)


def samples(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]


def test_each_failure_has_its_reason_and_the_run_goes_on(
    tmp_path: Path, tasks: Path, trouble: pytest.MonkeyPatch
) -> None:
    result = go(tmp_path)
    found = samples(tmp_path)
    assert {row["doc_id"] for row in found if row["status"] == "failed"} == set(REASONS)
    for doc_id, reason in REASONS.items():
        assert reason in found[doc_id]["error"], doc_id
        assert "\n" not in found[doc_id]["error"]
    assert [row["doc_id"] for row in found] == list(range(9))
    assert result.failed == 6
    assert "| 9 | 6 |" in markdown_table(result.results)


def test_one_failure_too_many_stops_at_once_and_can_be_resumed(
    tmp_path: Path, tasks: Path, trouble: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TooManyFailures, match=r"[34] samples failed \(allowed: 2 of 9\).*resume with: lladav-eval run"):
        go(tmp_path, dataclasses.replace(SPEC, max_failures="2"))
    kept = (tmp_path / "run" / "journal.jsonl").read_text().splitlines()
    assert 3 <= len(kept) < 9, "what crossed the line is kept, the rest is not asked"
    assert not (tmp_path / "run" / "results.json").exists()
    assert go(tmp_path).failed == 6
    assert (tmp_path / "run" / "journal.jsonl").read_text().splitlines()[: len(kept)] == kept


def test_failed_samples_alone_are_retried(tmp_path: Path, tasks: Path, trouble: pytest.MonkeyPatch) -> None:
    go(tmp_path)
    before = samples(tmp_path)
    trouble.undo()
    toy.use_tasks(tasks, trouble)
    assert go(tmp_path).failed == 6, "asking again without --retry-failed changes nothing"
    assert samples(tmp_path) == before
    assert go(tmp_path, retry_failed=True).failed == 4
    after = samples(tmp_path)
    assert {row["doc_id"] for row in after if row["status"] == "failed"} == {1, 2, 3, 4}
    for doc_id in (0, 7, 8):
        assert after[doc_id] == before[doc_id], "what was answered is not asked again"
