"""Published benchmarks in the run loop whose official figures a judge fills."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from benchmark_runs import Says, run, samples
from rich.console import Console

from lladav_eval.adapters.chat_reply import RequestRejected
from lladav_eval.errors import EnvironmentError_, TaskError
from lladav_eval.records import RunSpec
from lladav_eval.reports.load import load_run
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory


def test_without_a_judge_the_official_figure_stays_empty(mathvista: Path, tmp_path: Path) -> None:
    task = run("lladav_mathvista", mathvista, Says(["14", "The answer is 14"]), tmp_path / "run", "official").results[
        "tasks"
    ]["lladav_mathvista"]
    assert task["waiting_for_judge"] > 0
    assert list(task["metrics"]) == ["strict"]
    assert task["headline"] == "strict"


@pytest.mark.parametrize("judge", [None, "judge@http://localhost:1/v1"])
def test_that_a_judge_is_missing_is_said_in_one_line(mathvista: Path, tmp_path: Path, judge: str | None) -> None:
    said = io.StringIO()
    spec = RunSpec(("lladav_mathvista",), "says", data=str(mathvista), judge=judge)
    run_directory = RunDirectory(tmp_path / "run")
    execute(spec, lambda: Says(["14", "15"]), run_directory, console=Console(file=said, width=40))
    note = "note: lladav_mathvista: the official figure needs a judge and will stay empty; give --judge MODEL@URL\n"
    assert (note in said.getvalue()) is (judge is None)


def test_the_judge_fills_it_and_its_replies_are_stored(mathvista: Path, tmp_path: Path) -> None:
    prompts: list[str] = []

    def ask(prompt: str, max_tokens: int, attempt: int) -> str:
        prompts.append(prompt)
        return "14" if "fourteen" in prompt else "3"

    model = Says(["It must be fourteen", "It must be three"])
    result = run("lladav_mathvista", mathvista, model, tmp_path / "run", "official", ask=ask)
    task = result.results["tasks"]["lladav_mathvista"]
    assert task["waiting_for_judge"] == 0
    assert task["metrics"]["official"]["value"] == 50.0
    assert len(prompts) == 2
    assert [row["judge_replies"] for row in samples(tmp_path / "run")] == [["14"], ["3"]]


def test_an_unreachable_judge_ends_the_run_and_loses_no_answer(mathvista: Path, tmp_path: Path) -> None:
    def ask(prompt: str, max_tokens: int, attempt: int) -> str:
        raise EnvironmentError_("the judge can't be reached")

    model = Says(["It must be fourteen"] * 2)
    with pytest.raises(EnvironmentError_, match=r"judge can't be reached.*resume"):
        run("lladav_mathvista", mathvista, model, tmp_path / "run", ask=ask)
    again = Says([])
    run("lladav_mathvista", mathvista, again, tmp_path / "run", ask=lambda prompt, tokens, attempt: "14")
    assert again.asked == []


def test_a_prompt_that_the_judge_refuses_leaves_one_verdict_open(mathvista: Path, tmp_path: Path) -> None:
    def ask(prompt: str, max_tokens: int, attempt: int) -> str:
        if "three" in prompt:
            raise RequestRejected("the judge rejects the request (status 400)")
        return "14"

    model = Says(["It must be fourteen", "It must be three"])
    task = run("lladav_mathvista", mathvista, model, tmp_path / "run", ask=ask).results["tasks"]["lladav_mathvista"]
    assert (task["n"], task["failed"], task["waiting_for_judge"]) == (2, 0, 1)
    assert list(task["metrics"]) == ["strict"]


def test_a_judge_that_says_nothing_of_use_is_asked_anew_and_not_for_ever(mathverse: Path, tmp_path: Path) -> None:
    attempts: list[int] = []

    def ask(prompt: str, max_tokens: int, attempt: int) -> str:
        attempts.append(attempt)
        return "hm"

    task = run("lladav_mathverse_vision_only", mathverse, Says(["three"]), tmp_path / "run", "official", ask=ask)
    found = task.results["tasks"]["lladav_mathverse_vision_only"]
    assert attempts == [0, 0, 1, 2, 3, 4]
    assert (found["unparsed"], found["waiting_for_judge"], found["metrics"]["official"]["value"]) == (1, 0, 0.0)


def test_what_a_judge_would_miss_in_rows_shows_before_anything_is_answered(mathvista: Path, tmp_path: Path) -> None:
    table = next(mathvista.rglob("*.jsonl"))
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "query"}) + "\n" for row in rows))
    model = Says(["14", "The answer is 14"])
    spec = RunSpec(("lladav_mathvista",), "says", data=str(mathvista), judge="m@http://127.0.0.1:9/v1")
    with pytest.raises(TaskError, match="lladav_mathvista, row 0: the column 'query' is missing"):
        execute(spec, lambda: model, RunDirectory(tmp_path / "run"), ask=lambda *_: "14")
    assert model.asked == []


def test_what_a_judges_second_prompt_would_miss_shows_as_early(mathverse: Path, tmp_path: Path) -> None:
    table = next(mathverse.rglob("*.jsonl"))
    table.write_text(table.read_text().replace('"question": ""', '"question": null'))
    model = Says(["three"])
    spec = RunSpec(("lladav_mathverse_vision_only",), "says", data=str(mathverse), judge="m@http://127.0.0.1:9/v1")
    with pytest.raises(TaskError, match="row 0: the column 'question' must be text, not empty"):
        execute(spec, lambda: model, RunDirectory(tmp_path / "run"), ask=lambda *_: "14")
    assert model.asked == []


def test_figures_wait_for_the_judge_as_the_headline_does(mathvista: Path, tmp_path: Path) -> None:
    run("lladav_mathvista", mathvista, Says(["The answer is 14", "no idea"]), tmp_path / "run")
    assert set(load_run(tmp_path / "run").tasks["lladav_mathvista"].figures) == {"strict"}
