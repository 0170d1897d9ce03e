"""What a run refuses before a model is loaded, and that nothing is lost by it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy
from toy_runs import SPEC, go, without_timings

from lladav_eval.errors import SettingError, TaskError, UsageError
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory


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
        go(out, toy.ToyModel(), replace(SPEC, limit=2))
    assert (out / "results.json").read_bytes() == before
    assert go(out, toy.ToyModel()).failed == 0


def test_a_refused_command_leaves_no_directory_behind(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError):
        go(tmp_path / "run", toy.ToyModel(), replace(SPEC, tasks=("lladav_gone",)))
    assert not (tmp_path / "run").exists()
    (tmp_path / "kept").mkdir()
    with pytest.raises(TaskError):
        go(tmp_path / "kept", toy.ToyModel(), replace(SPEC, tasks=("lladav_gone",)))
    assert (tmp_path / "kept").exists()


def test_data_that_no_task_reads_is_refused(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data mine: rows of lladav_toy_a, lladav_toy_b come from elsewhere"):
        go(tmp_path / "run", toy.ToyModel(), replace(SPEC, data="mine"))


@pytest.mark.parametrize("name", ["category", "cluster"])
def test_a_misspelt_column_is_refused_before_the_model(tasks: Path, tmp_path: Path, name: str) -> None:
    file = next(tasks.glob("*toy_a.yaml"))
    kept = [line for line in file.read_text().splitlines() if not line.startswith("  category:")]
    file.write_text("\n".join(kept).replace("version: 1.5", f"version: 1.5\n  {name}: kolour"))
    with pytest.raises(TaskError, match=f"metadata.{name} names 'kolour', rows have "):
        go(tmp_path / "run", toy.ToyModel())
