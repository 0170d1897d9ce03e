"""The run loop with a model that needs no weights: resume, failures, interruption, equal files."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy
from rich.console import Console

from lladav_eval.errors import Interrupted, SettingError, TaskError, TooManyFailures, UsageError
from lladav_eval.records import Generation, Question, RunSpec
from lladav_eval.runs.execute import RunResult, allowed_failures, execute
from lladav_eval.runs.store import RunDirectory

SPEC = RunSpec(tasks=("lladav_toy_a", "lladav_toy_b"), model="toy", batch_size=3)


def go(out: Path, model: toy.ToyModel, spec: RunSpec = SPEC, **options: Any) -> RunResult:
    return execute(spec, lambda: model, RunDirectory(out), **options)


def lines(path: Path) -> list[dict[str, Any]]:
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


def test_a_repeated_run_asks_nothing_again(tmp_path: Path, tasks: Path) -> None:
    go(tmp_path / "run", toy.ToyModel())
    before = without_timings(tmp_path / "run")
    model = toy.ToyModel()
    go(tmp_path / "run", model)
    assert model.asked == []
    assert without_timings(tmp_path / "run") == before


def test_what_can_change_an_answer_is_asked_again_and_what_cant_is_not(tmp_path: Path, tasks: Path) -> None:
    go(tmp_path / "run", toy.ToyModel())

    def asked(spec: RunSpec, model: toy.ToyModel | None = None) -> int:
        model = model or toy.ToyModel()
        go(tmp_path / "run", model, spec)
        return len(model.asked)

    assert asked(replace(SPEC, batch_size=7, device="cpu")) == 0
    assert asked(replace(SPEC, gen=(("steps", "2"),))) == 20
    assert asked(replace(SPEC, seed=5)) == 20
    assert asked(SPEC, toy.ToyModel(fingerprint="toy-weights-2")) == 20
    functions = tasks / "toy_functions.py"
    functions.write_text(functions.read_text().replace("which colour", "what colour"))
    assert asked(SPEC, toy.ToyModel(fingerprint="toy-weights-2")) == 20
    assert asked(SPEC, toy.ToyModel(fingerprint="toy-weights-2")) == 0


def test_interrupted_and_resumed_files_equal_those_of_an_unbroken_run(tmp_path: Path, tasks: Path) -> None:
    go(tmp_path / "whole", toy.ToyModel())
    with pytest.raises(Interrupted, match=r"interrupted after 13 of 20 samples; resume with: lladav-eval run .*--out"):
        go(tmp_path / "broken", toy.ToyModel(stop_after=14))
    assert json.loads((tmp_path / "broken/manifest.json").read_text())["sessions"][0]["status"] == "interrupted"
    model = toy.ToyModel()
    go(tmp_path / "broken", model)
    assert len(model.asked) == 20 - 13
    assert without_timings(tmp_path / "broken") == without_timings(tmp_path / "whole")


def test_a_corrupted_and_a_torn_line_are_named_set_aside_and_redone(tmp_path: Path, tasks: Path) -> None:
    go(tmp_path / "run", toy.ToyModel())
    before = without_timings(tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    content = bytearray(journal.read_bytes())
    third = content.index(b"\n", content.index(b"\n") + 1) + 60
    content[third] ^= 4
    journal.write_bytes(content[:-25])
    from rich.console import Console

    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    model = toy.ToyModel()
    go(tmp_path / "run", model, console=console)
    assert model.asked == [("lladav_toy_a", 2), ("lladav_toy_b", 9)]
    rejected = lines(tmp_path / "run" / "journal.rejected.jsonl")
    assert [(line["number"], line["reason"]) for line in rejected] == [
        (3, "the checksum does not match"),
        (20, "the line is cut off"),
    ]
    said = console.export_text()
    assert "journal line 3: the checksum does not match" in said
    assert "journal line 20: the line is cut off" in said
    after = without_timings(tmp_path / "run")
    assert after["samples"] == before["samples"]
    assert after["results"] == before["results"]


def test_no_resume_starts_over_and_keeps_the_old_answers_aside(tmp_path: Path, tasks: Path) -> None:
    go(tmp_path / "run", toy.ToyModel())
    model = toy.ToyModel()
    go(tmp_path / "run", model, resume=False)
    assert len(model.asked) == 20
    assert len(lines(tmp_path / "run" / "journal.previous.jsonl")) == 20


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


def test_a_second_run_in_the_same_directory_is_refused_by_name(tmp_path: Path, tasks: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    with directory.lock(), pytest.raises(UsageError, match=rf"is in use by host .*, pid {os.getpid()}"):
        go(tmp_path / "run", toy.ToyModel())
    go(tmp_path / "run", toy.ToyModel())


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("steps: 4", "stepz: 4", SettingError, "unknown setting 'stepz'; did you mean"),
        ("gen_length: 4", "gen_length: 5", SettingError, "gen_length=5 is not divisible"),
        ("generate_until", "multiple_choice", TaskError, "output_type"),
        ("lladav_toy_a.parquet", "gone.parquet", TaskError, "the task lladav_toy_a can't be loaded: .*gone.parquet"),
        ("version: 1.5", "scale: metres", TaskError, "metadata scale 'metres'"),
    ],
)
def test_a_task_that_cant_be_run_is_refused_before_the_model_is_loaded(
    tmp_path: Path, tasks: Path, old: str, new: str, error: type[Exception], message: str
) -> None:
    path = tasks / "lladav_toy_a.yaml"
    text = path.read_text().replace(old, new)
    if new == "multiple_choice":
        text = text.replace("generation_kwargs:\n  gen_length: 4\n  block_length: 2\n  steps: 4\n", "x:\n")
        text = text.replace("x:\n  think_mode: no_think\n", "doc_to_choice: [a, b]\n")
    path.write_text(text)

    def load() -> toy.ToyModel:
        raise AssertionError("the model was loaded")

    started = time.process_time()  # of this process: other work on the machine doesn't count
    with pytest.raises(error, match=message):
        execute(SPEC, load, RunDirectory(tmp_path / "run"))
    assert time.process_time() - started < 5


def command(out: Path) -> list[str]:
    words = ["run", "--task", "toy", "--model", "toy", "--batch-size", "3", "--out", str(out)]
    return [sys.executable, str(Path(toy.__file__)), *words]


def environment(tasks: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "TOY_TASKS": str(tasks), **more}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_is_lost_still_ends_the_run(tmp_path: Path, tasks: Path, number: int) -> None:
    """As inside a finalizer of a library, where Python drops it."""

    class Deaf(toy.ToyModel):
        def answer(self, questions: Any) -> Any:
            if len(self.batches) == 2:
                with contextlib.suppress(KeyboardInterrupt):
                    os.kill(os.getpid(), number)
                    time.sleep(5)
            return super().answer(questions)

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match="resume with: lladav-eval run"):
        go(tmp_path / "run", Deaf())
    assert len(lines(tmp_path / "run" / "journal.jsonl")) == 9, "the batch is kept, and the next not asked"
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.slow
def test_a_killed_process_loses_at_most_its_batch(tmp_path: Path, tasks: Path) -> None:
    killed = subprocess.run(
        command(tmp_path / "run"), env=environment(tasks, TOY_DIE_IN_BATCH="4"), capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(lines(tmp_path / "run" / "journal.jsonl")) == 10
    model = toy.ToyModel()
    go(tmp_path / "run", model)
    assert len(model.asked) == 10
    go(tmp_path / "whole", toy.ToyModel())
    assert without_timings(tmp_path / "run") == without_timings(tmp_path / "whole")


@pytest.mark.slow
def test_sigterm_ends_with_130_and_the_command_that_resumes(tmp_path: Path, tasks: Path) -> None:
    waiting = tmp_path / "waiting"
    process = subprocess.Popen(
        command(tmp_path / "run"),
        env=environment(tasks, TOY_WAIT_IN_BATCH="2", TOY_WAITING=str(waiting)),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not waiting.exists() and process.poll() is None:
        time.sleep(0.05)
    with pytest.raises(UsageError, match=rf"in use by host .*, pid {process.pid}"):
        go(tmp_path / "run", toy.ToyModel())
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "error: interrupted after 6 of 20 samples; resume with: lladav-eval run --task" in said
    assert "Traceback" not in said


def test_a_command_that_fails_early_leaves_the_finished_run_alone(tmp_path: Path, tasks: Path) -> None:
    out = tmp_path / "run"
    go(out, toy.ToyModel())
    before = without_timings(out)

    def no_model() -> toy.ToyModel:
        raise SettingError("there is no such device")

    for spec, load in ((SPEC, no_model), (replace(SPEC, protocol="official"), toy.ToyModel)):
        with pytest.raises(SettingError):
            execute(spec, load, RunDirectory(out), resume=False)
        assert without_timings(out) == before


def test_an_empty_journal_never_replaces_answers_set_aside(tmp_path: Path, tasks: Path) -> None:
    out = tmp_path / "run"
    go(out, toy.ToyModel())
    failing = replace(SPEC, max_failures="0")
    for _ in range(2):
        RunDirectory(out).start_over()
        (out / "journal.jsonl").touch()
    assert len(lines(out / "journal.previous.jsonl")) == 20
    assert go(out, toy.ToyModel(), failing).failed == 0


def test_a_damaged_manifest_and_results_of_another_run_are_said_and_replaced(tmp_path: Path, tasks: Path) -> None:
    out, said = tmp_path / "run", Console(file=io.StringIO(), width=500)
    go(out, toy.ToyModel())
    (out / "manifest.json").write_text('{"spec":')
    again = toy.ToyModel()
    go(out, again, console=said)
    assert again.asked == []
    assert "manifest.json is not valid JSON" in said.file.getvalue()  # type: ignore[attr-defined]
    assert json.loads((out / "manifest.json").read_text())["sessions"][-1]["status"] == "complete"
    go(out, again, replace(SPEC, limit=2, gen=(("steps", "2"),)), console=said)
    assert "holds results of another run (limit None, gen none): they are replaced" in said.file.getvalue()  # type: ignore[attr-defined]


def test_the_reason_of_the_last_failure_stands_in_the_error(tmp_path: Path, tasks: Path) -> None:
    with pytest.raises(TooManyFailures, match=r"the last in lladav_toy_a \(the logits are not finite\)"):
        go(tmp_path / "run", toy.ToyModel(fail=frozenset([1])), replace(SPEC, max_failures="0"))


def test_a_metric_of_which_less_is_better_is_refused_before_the_model(tasks: Path, tmp_path: Path) -> None:
    """A failed sample counts as 0, which would be perfect."""
    file = next(tasks.glob("*toy_a.yaml"))
    file.write_text(file.read_text().replace("higher_is_better: true", "higher_is_better: false"))
    model = toy.ToyModel()
    with pytest.raises(TaskError, match=r"higher_is_better: false` of accuracy: .* give 1 minus it"):
        go(tmp_path / "run", model)
    assert not model.asked


@pytest.mark.parametrize("manifest", [None, {"mine": 1}, [1]])
def test_files_that_no_run_wrote_are_not_replaced(tasks: Path, tmp_path: Path, manifest: Any) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "samples.jsonl").write_text("mine")
    if manifest is not None:
        (out / "manifest.json").write_text(json.dumps(manifest))
    for resume in (True, False):
        with pytest.raises(UsageError, match=r"holds samples.jsonl, which no run wrote: choose another --out"):
            go(out, toy.ToyModel(), resume=resume)
    assert (out / "samples.jsonl").read_text() == "mine"
    assert not (out / ".lock").exists()


def test_results_of_another_run_are_not_replaced_where_its_answers_are_gone(tasks: Path, tmp_path: Path) -> None:
    """As of a committed baseline, which has no journal. The same command may make it anew."""
    out = tmp_path / "run"
    go(out, toy.ToyModel())
    (out / "journal.jsonl").unlink()
    before = (out / "results.json").read_bytes()
    with pytest.raises(UsageError, match=r"holds results of another run \(limit None\) without its answers"):
        go(out, toy.ToyModel(), dataclasses.replace(SPEC, limit=2))
    assert (out / "results.json").read_bytes() == before
    assert go(out, toy.ToyModel()).failed == 0


def test_a_refused_command_leaves_no_directory_behind(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError):
        go(tmp_path / "run", toy.ToyModel(), dataclasses.replace(SPEC, tasks=("lladav_gone",)))
    assert not (tmp_path / "run").exists()
    (tmp_path / "kept").mkdir()
    with pytest.raises(TaskError):
        go(tmp_path / "kept", toy.ToyModel(), dataclasses.replace(SPEC, tasks=("lladav_gone",)))
    assert (tmp_path / "kept").exists()


def test_data_that_no_task_reads_is_refused(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data mine: rows of lladav_toy_a, lladav_toy_b come from elsewhere"):
        go(tmp_path / "run", toy.ToyModel(), dataclasses.replace(SPEC, data="mine"))


@pytest.mark.parametrize("name", ["category", "cluster"])
def test_a_misspelt_column_is_refused_before_the_model(tasks: Path, tmp_path: Path, name: str) -> None:
    file = next(tasks.glob("*toy_a.yaml"))
    kept = [line for line in file.read_text().splitlines() if not line.startswith("  category:")]
    file.write_text("\n".join(kept).replace("version: 1.5", f"version: 1.5\n  {name}: kolour"))
    with pytest.raises(TaskError, match=f"metadata.{name} names 'kolour', rows have "):
        go(tmp_path / "run", toy.ToyModel())
