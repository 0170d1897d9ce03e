"""What an endpoint calls the models that answered goes from the answers to every report that compares them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports.synthetic import Sheet, write_run
from runs import toy

from lladav_eval.records import Generation, Question, RunSpec
from lladav_eval.reports.comparison import compare_runs
from lladav_eval.reports.load import load_run
from lladav_eval.reports.regression import regress
from lladav_eval.reports.table import notes
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory, read_json


class Served(toy.ToyModel):
    """An endpoint that changes its model at row 4."""

    def answer(self, questions: Any) -> list[Generation]:
        def name(question: Question) -> str:
            return "m-2025" if question.doc_id < 4 else "m-2026"

        pairs = zip(questions, super().answer(questions), strict=True)
        return [replace(answer, served_model=name(question)) for question, answer in pairs]


def test_the_run_counts_and_tells_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=6), monkeypatch)
    directory = RunDirectory(tmp_path / "run")
    execute(RunSpec(tasks=("lladav_toy_a",), model="toy"), Served, directory)
    results = read_json(directory.results)
    assert results["tasks"]["lladav_toy_a"]["served_models"] == {"m-2025": 4, "m-2026": 2}
    lines = [json.loads(line) for line in directory.samples.read_text().splitlines()]
    assert [line["served_model"] for line in lines] == ["m-2025"] * 4 + ["m-2026"] * 2
    assert load_run(directory.path).tasks["lladav_toy_a"].served_models == ("m-2025", "m-2026")
    assert notes(results) == ["toy_a: the endpoint says that its answers are of m-2025 (4), m-2026 (2)"]


@pytest.mark.parametrize(
    ("served", "told"),
    [({"m": 3}, False), ({}, False), (None, False), ({"m-2026": 3}, True), ({"m": 2, "m-2026": 1}, True)],
)
def test_the_name_that_was_asked_for_needs_no_note(served: dict[str, int] | None, told: bool) -> None:
    task = {"n": 3, "headline": "strict", "metrics": {"strict": {}}, "served_models": served}
    assert bool(notes({"model": "openai:m@http://host", "protocol": "strict", "tasks": {"t": task}})) == told


def served_run(path: Path, *names: str) -> Path:
    write_run(path, {"a": Sheet([1, 0, 1])})
    results = json.loads((path / "results.json").read_text())
    results["tasks"]["lladav_a"]["served_models"] = dict.fromkeys(names, 1)
    (path / "results.json").write_text(json.dumps(results))
    return path


@pytest.mark.parametrize(
    ("before", "after", "note"),
    [
        (("m-2025",), ("m-2025", "m-2026"), "a: the endpoint's model m-2025 became m-2025, m-2026"),
        (("m-2025",), ("m-2025",), None),
        ((), ("m-2025",), None),
    ],
)
def test_a_changed_model_is_told_with_a_regression(
    tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...], note: str | None
) -> None:
    baseline, candidate = served_run(tmp_path / "before", *before), served_run(tmp_path / "after", *after)
    found = regress(load_run(baseline), load_run(candidate)).notes
    assert [line for line in found if "endpoint" in line] == ([note] if note else [])


def test_several_models_are_told_with_a_comparison(tmp_path: Path) -> None:
    runs = [served_run(tmp_path / "one", "m"), served_run(tmp_path / "two", "m-2025", "m-2026")]
    found = compare_runs([load_run(run) for run in runs]).notes
    assert [line for line in found if "answered" in line] == ["a of toy (two) was answered by m-2025, m-2026"]
