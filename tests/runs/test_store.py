"""Atomic writes, the names of runs, directories that can't be written."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from lladav_eval.errors import EnvironmentError_, UsageError
from lladav_eval.records import RunSpec
from lladav_eval.runs.store import RunDirectory, read_json, run_id

SPEC = RunSpec(tasks=("lladav_pocket_digits",), model="GSAI-ML/LLaDA-V")


def test_the_name_of_a_run_follows_what_is_asked_alone() -> None:
    assert run_id(SPEC).startswith("LLaDA-V-pocket_digits-")
    same: dict[str, object]
    for same in (
        {"batch_size": 4},
        {"device": "cuda"},
        {"trace": True},
        {"max_failures": "5"},
        {"offline": True},
        {"time_limit": 5.0},
        {"accelerate": ("compile",)},
    ):
        assert run_id(replace(SPEC, **same)) == run_id(SPEC)
    for other in (
        {"limit": 5},
        {"gen": (("steps", "2"),)},
        {"seed": 1},
        {"dtype": "float16"},
        {"model": "x/LLaDA-V"},
        {"include_path": ("x",)},
    ):
        assert run_id(replace(SPEC, **other)) != run_id(SPEC)


@pytest.mark.parametrize("model", ["../../etc", "a b/c:d?e", "/", "x" * 500, "..", "é\n"])
def test_the_name_of_a_run_is_one_plain_folder(model: str) -> None:
    name = run_id(replace(SPEC, model=model, tasks=("lladav_a/../b", "c" * 300)))
    assert Path(name).name == name
    assert len(name) < 160
    assert name.isascii()


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.write_json(directory.results, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        directory.write_json(directory.results, {"a": math.nan})

    def broken() -> object:
        yield {"a": 2}
        raise RuntimeError("scoring broke")

    with pytest.raises(RuntimeError):
        directory.write_lines(directory.results, broken())
    assert read_json(directory.results) == {"a": 1}


def test_a_directory_is_made_with_those_above_it_and_may_be_there(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "results" / "runs" / "mine")
    for _ in range(2):
        directory.create()
    assert list(directory.path.iterdir()) == [], "nothing of the trial is left"


def test_a_directory_that_cant_be_made_or_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't be written \(Not a directory\): choose another one with --out"):
        RunDirectory(tmp_path / "file" / "run").create()
    with pytest.raises(UsageError, match="can't be written"):
        RunDirectory(tmp_path / "file").create()


def test_a_directory_that_vanishes_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError_, match=r"can't be written \(No such file"):
        RunDirectory(tmp_path / "gone").write_text(tmp_path / "gone" / "table.md", "x")


def test_reading_a_broken_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"results.json can't be read"):
        read_json(tmp_path / "results.json")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UsageError, match=r"results.json is not valid JSON"):
        read_json(tmp_path / "results.json")


def test_a_model_behind_an_address_gives_its_name_to_the_folder() -> None:
    spec = RunSpec(("lladav_pocket_digits",), "openai:org/some-model@http://host/v1")
    assert run_id(spec).startswith("some-model-pocket_digits-")
