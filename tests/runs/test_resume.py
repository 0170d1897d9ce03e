"""Whatever ends a run, the same command goes on from there: nothing is asked again, files equal an unbroken run's."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy
from rich.console import Console
from toy_runs import SPEC, go, lines, without_timings

from lladav_eval.errors import Interrupted, UsageError
from lladav_eval.records import RunSpec
from lladav_eval.runs.store import RunDirectory


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
    first = (tmp_path / "run" / "journal.previous.jsonl").read_bytes()
    for number in (2, 3):
        go(tmp_path / "run", toy.ToyModel(), resume=False)
        assert len(lines(tmp_path / "run" / f"journal.previous.{number}.jsonl")) == 20
    assert (tmp_path / "run" / "journal.previous.jsonl").read_bytes() == first


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
