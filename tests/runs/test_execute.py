"""The run loop with a model that needs no weights: every sample counted, what it cost, how many may fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import toy
from toy_runs import SPEC, go, lines

from lladav_eval.errors import SettingError, TooManyFailures
from lladav_eval.records import Generation, Question
from lladav_eval.runs import manifest
from lladav_eval.runs.execute import allowed_failures


def test_a_run_counts_every_sample_and_leaves_its_files(tmp_path: Path, tasks: Path) -> None:
    model = toy.ToyModel(say={0: "", 1: "crash the scorer"})
    result = go(tmp_path / "run", model)
    first = result.results["tasks"]["lladav_toy_a"]
    counts = {name: first[name] for name in ("n", "scored", "failed", "unparsed", "empty")}
    assert counts == {"n": 10, "scored": 6, "failed": 1, "unparsed": 2, "empty": 1}
    assert first["metrics"]["accuracy"]["value"] == pytest.approx(60.0)
    assert first["metrics"]["accuracy"]["method"] == "wilson"
    assert first["metrics"]["accuracy"]["low"] < 60 < first["metrics"]["accuracy"]["high"]
    assert first["forward_passes_per_sample"] == 4
    assert first["version"] == "1.5"
    assert model.batches == [3, 3, 3, 1] * 2
    samples = lines(tmp_path / "run" / "samples.jsonl")
    assert [(row["task"], row["doc_id"]) for row in samples] == [(t, i) for t in SPEC.tasks for i in range(10)]
    assert samples[1]["status"] == "failed"
    assert samples[1]["metrics"] == {"accuracy": 0.0}
    assert [row["category"] for row in samples[:3]] == ["red", "green", "blue"]
    assert samples[1]["error"] == "scoring failed: RuntimeError: the scorer met something odd and more"
    assert samples[2]["prompt"] == "Row 2: which colour is this?"
    assert samples[2]["target"] == samples[2]["extracted"] == "blue"
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["sessions"][-1]["status"] == "complete"
    assert manifest["tasks"]["lladav_toy_a"]["settings"]["gen_length"] == 4
    assert manifest["packages"]["pillow"]


def test_a_commit_in_the_middle_is_not_that_of_the_run(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = iter({"commit": letter * 40, "dirty": False} for letter in "ab")
    monkeypatch.setattr(manifest, "commit", lambda: next(commits))
    go(tmp_path / "run", toy.ToyModel())
    for name in ("manifest.json", "results.json"):
        assert json.loads((tmp_path / "run" / name).read_text())["code"]["git"]["commit"] == "a" * 40


def test_cost_is_written_per_sample_and_per_task_and_failed_samples_dont_count(tmp_path: Path, tasks: Path) -> None:
    class Costly(toy.ToyModel):
        def answer(self, questions: Sequence[Question]) -> list[Generation]:
            return [
                replace(answer, prompt_tokens=10, flops=1e9, peak_memory=100 + question.doc_id, seconds=2.0)
                if answer.status == "ok"
                else answer
                for question, answer in zip(questions, super().answer(questions), strict=True)
            ]

    spec = replace(SPEC, max_failures="5")
    result = go(tmp_path / "run", Costly(fail=frozenset({0, 7}), say={1: "crash the scorer"}), spec)
    task = result.results["tasks"]["lladav_toy_a"]
    assert (task["n"], task["failed"]) == (10, 3)  # of which the scorer failed one that the model had answered
    assert (task["forward_passes_per_sample"], task["seconds_per_sample"]) == (4, 2.0)
    cost = task["cost"]
    assert cost["answered"] == 8
    assert cost["prompt_tokens"] == {"known": 8, "total": 80, "mean": 10}
    assert cost["seconds"] == {"known": 8, "total": 16.0, "mean": 2.0}
    assert cost["peak_memory"] == {"known": 8, "largest": 109}
    assert cost["output_tokens"] is None
    samples = lines(tmp_path / "run" / "samples.jsonl")
    assert samples[0]["cost"]["prompt_tokens"] is None
    assert samples[1]["cost"] == {
        "prompt_tokens": 10, "output_tokens": None, "flops": 1e9, "media_seconds": None, "prefill_seconds": None,
        "decode_seconds": None, "peak_memory": 101,
    }  # fmt: skip


def test_unreadable_and_cut_off_images_are_failed_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.use_tasks(toy.write_tasks(tmp_path / "tasks", unreadable=[2], cut_off=[3]), monkeypatch)
    model = toy.ToyModel(fail=frozenset([6]))
    result = go(tmp_path / "run", model, replace(SPEC, max_failures="6"))
    assert result.failed == 6
    samples = lines(tmp_path / "run" / "samples.jsonl")
    assert [row["doc_id"] for row in samples[:10] if row["status"] == "failed"] == [2, 3, 6]
    assert samples[2]["error"] == "an image of the row can't be read: cannot identify image file"
    assert "truncated" in samples[3]["error"]
    assert samples[6]["error"] == "the logits are not finite"
    assert samples[2]["prompt"] == "Row 2: which colour is this?"
    assert ("lladav_toy_a", 2) not in model.asked
    assert result.results["tasks"]["lladav_toy_a"]["metrics"]["accuracy"]["value"] == pytest.approx(50.0)


def test_failed_samples_stay_failed_until_retried(tmp_path: Path, tasks: Path) -> None:
    spec = replace(SPEC, max_failures="2")
    go(tmp_path / "run", toy.ToyModel(fail=frozenset([6])), spec)
    again = toy.ToyModel()
    assert go(tmp_path / "run", again, spec).failed == 2
    assert again.asked == []
    assert go(tmp_path / "run", again, spec, retry_failed=True).failed == 0
    assert again.asked == [("lladav_toy_a", 6), ("lladav_toy_b", 6)]


def test_more_failures_than_allowed_stop_the_run_resumably(tmp_path: Path, tasks: Path) -> None:
    model = toy.ToyModel(fail=frozenset([1]))
    with pytest.raises(TooManyFailures, match=r"1 samples failed \(allowed: 0 of 20\).*resume with: lladav-eval run"):
        go(tmp_path / "run", model, replace(SPEC, max_failures="0"))
    assert len(model.asked) == 3
    assert not (tmp_path / "run" / "results.json").exists()
    assert go(tmp_path / "run", model, replace(SPEC, max_failures="10%")).failed == 2
    assert len(model.asked) == 20


@pytest.mark.parametrize(
    ("rule", "total", "allowed"),
    [
        (None, 50, 1),
        (None, 100, 1),
        (None, 5000, 50),
        ("5", 100, 5),
        ("1%", 250, 3),
        ("0", 9, 0),
        ("0%", 9, 0),
        ("7%", 100, 7),
    ],
)
def test_allowed_failures(rule: str | None, total: int, allowed: int) -> None:
    assert allowed_failures(rule, total) == allowed


@pytest.mark.parametrize("rule", ["", "%", "-1", "101%", "1.5", "many", "nan", "inf"])
def test_a_wrong_failure_rule_is_refused(rule: str) -> None:
    with pytest.raises(SettingError, match="--max-failures"):
        allowed_failures(rule, 100)


def test_the_reason_of_the_last_failure_stands_in_the_error(tmp_path: Path, tasks: Path) -> None:
    with pytest.raises(TooManyFailures, match=r"the last in lladav_toy_a \(the logits are not finite\)"):
        go(tmp_path / "run", toy.ToyModel(fail=frozenset([1])), replace(SPEC, max_failures="0"))
