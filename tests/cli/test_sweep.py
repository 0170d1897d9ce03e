"""``lladav-eval sweep`` end to end: a run per point, resumed, the impossible named, the model loaded once."""

from __future__ import annotations

import csv
import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))
import toy

from lladav_eval.cli.main import invoke
from lladav_eval.cli.sweep import _meant_for
from lladav_eval.engine import processes
from lladav_eval.errors import UsageError
from lladav_eval.records import RunSpec
from lladav_eval.reports.load import load_run


class Models:
    """Which models were loaded, and with what."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.toy = toy.ToyModel()
        self.twin = toy.ToyModel(name="twin", fingerprint="twin-1", say={0: "purple"})

    def resolve(self, name: str, device: Any = None, dtype: Any = None, **options: Any) -> toy.ToyModel:
        self.loaded.append(name)
        if name == "causal":
            return Causal()
        if name not in ("toy", "twin"):
            raise UsageError(f"unknown model {name!r}")
        return getattr(self, name)  # type: ignore[no-any-return]


class Causal(toy.ToyModel):
    def description(self) -> dict[str, Any]:
        return {"kind": "autoregressive"}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    folder = toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=6), monkeypatch)
    found = Models()
    module = toy.install(folder, found.toy)
    monkeypatch.setattr(module, "resolve_model", found.resolve)
    monkeypatch.setitem(sys.modules, "lladav_eval.adapters.models", module)
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return found


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(["sweep", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


# The task: gen_length 4, block_length 2, steps 4.
ASK = ("--task", "toy_a", "--model", "toy", "--steps", "1,2,4", "--block-length", "2,4", "--out", "s")


def test_a_run_per_point_and_a_table(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, *ASK, "--baseline", "twin")
    assert code == 0, err
    assert models.loaded == ["twin", "toy"]  # each once; the baseline first, so that a wrong name shows at once
    folders = {path.name for path in Path("s").iterdir() if path.is_dir()}
    assert folders == {
        "steps_1-block_length_4", "steps_2-block_length_2", "steps_2-block_length_4", "steps_4-block_length_2",
        "steps_4-block_length_4", "baseline-twin",
    }  # fmt: skip
    settings = load_run("s/steps_2-block_length_4").tasks["lladav_toy_a"].settings
    assert (settings["steps"], settings["block_length"], settings["gen_length"]) == (2, 4, 4)
    assert load_run("s/baseline-twin").tasks["lladav_toy_a"].settings["steps"] == 4  # its own
    assert "not run: toy_a, steps=1 block_length=2: steps=1 is not divisible" in err
    assert "not run: toy_a, steps=1 block_length=2: steps=1 is not divisible" in out
    assert "toy, unstated, protocol strict, " in out
    assert "toy\\_a" in Path("s/steps_2-block_length_4/table.md").read_text()
    files = {path.name for path in Path("s").iterdir() if path.is_file()}
    assert files == {
        "sweep.md", "sweep.csv", "sweep.json", "accuracy_against_seconds.png", "accuracy_against_seconds.svg",
        "accuracy_against_forward_passes.png", "accuracy_against_forward_passes.svg",
    }  # fmt: skip
    rows = list(csv.DictReader(Path("s/sweep.csv").read_text().splitlines()))
    assert [(row["steps"], row["block_length"]) for row in rows] == [
        ("1", "4"), ("2", "2"), ("2", "4"), ("4", "2"), ("4", "4"), ("", ""), ("1", "2"),
    ]  # fmt: skip
    assert [row["forward_passes_per_sample"] for row in rows[:3]] == ["1.0", "2.0", "2.0"]
    assert [row["exact_score"][:5] for row in rows[4:6]] == ["83.33", "66.66"]


def test_a_repeated_command_resumes_and_more_values_extend_it(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    models.toy.stop_after = 10
    code, _, err = call(capsys, *ASK, "--batch-size", "2")
    assert code == 130
    last = err.strip().splitlines()[-1]
    assert "point 2 of 5, steps=2, block_length=2: interrupted after 4 of 6 samples" in last
    assert "resume with: the same sweep command" in last
    models.toy.stop_after = None
    assert call(capsys, *ASK)[0] == 0
    asked = len(models.toy.asked)
    assert 5 * 6 <= asked <= 5 * 6 + 2  # only the batch that was cut off is asked again
    assert call(capsys, *ASK)[0] == 0
    assert len(models.toy.asked) == asked
    assert call(capsys, *ASK, "--cache", "none,dual")[0] == 0
    content = json.loads(Path("s/sweep.json").read_text())
    assert [point["decoding"] for point in content["points"]].count("approximate") == 5
    assert len(models.toy.asked) == asked + 10 * 6  # cache=none is a point of its own


def test_the_points_share_two_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[int] = []

    class Counted(processes.Processes):
        def _start(self, index: int) -> Any:
            started.append(index)
            return super()._start(index)

    monkeypatch.setattr(processes, "Processes", Counted)
    monkeypatch.chdir(tmp_path)
    ask = ("--task", "pocket_choice", "--model", "pocket", "--steps", "1,2", "--limit", "3", "--out", "s")
    code, _, err = call(capsys, *ask, "--workers", "2", "--time-limit", "600", "--baseline", "pocket-ar")
    assert code == 0, err
    assert started == [0, 1, 0, 1]  # the baseline's, then the model's for both points
    for folder, limit in (("baseline-pocket-ar", None), ("steps_1", 600), ("steps_2", 600)):
        spec = json.loads(Path(f"s/{folder}/manifest.json").read_text())["spec"]
        assert (spec["workers"], spec["time_limit"]) == (2, limit)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("baseline", "ways"), [("pocket-ar", ("compile",)), ("hf:x", ()), ("replay:x.jsonl", ())])
def test_a_baseline_is_accelerated_in_the_ways_it_has(baseline: str, ways: tuple[str, ...]) -> None:
    asked = RunSpec(("lladav_toy_a",), "pocket", accelerate=("compile", "cuda-graphs"))
    assert _meant_for(baseline, asked).accelerate == ways


def test_a_finished_run_can_be_the_baseline(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", "--task", "toy_a,toy_b", "--model", "twin", "--out", "base"]) == 0
    capsys.readouterr()
    code, out, err = call(capsys, *ASK, "--baseline", "base", "--json")
    assert code == 0, err
    content = json.loads(out.splitlines()[-1])
    assert [point["model"] for point in content["points"] if point["baseline"]] == ["twin"]
    assert all(Path(path).is_file() for path in content["files"])
    assert len(content["files"]) == 7
    asked = len(models.toy.asked)
    code, _, err = call(capsys, *ASK, "--baseline", "base", "--limit", "3", "--out", "t")
    assert code == 2
    assert len(models.toy.asked) == asked + 3  # refused after the first point
    assert "base is no baseline of this sweep: toy_a: 3 samples only in the baseline" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--steps", "3"), "no combination is possible; the first, steps=3"),
        ((), "nothing to vary"),
        (("--steps", "none"), "--steps 'none'"),
        (("--cache", "fast"), "cache='fast'"),
        (("--steps", "4", "--gen", "steps=2"), "--gen steps=2 contradicts --steps"),
        (("--steps", "4", "--model", "hf:x/y"), "--model hf:x/y: a sweep varies"),
        (("--steps", "4", "--model", "causal"), "--model causal is autoregressive"),
        (("--steps", "4", "--baseline", "nothing"), "unknown model 'nothing'"),
        (("--steps", "4", "--data", "nowhere"), "--data nowhere: no such folder"),
        (("--steps", "4", "--ray-address", "head:6379"), "--ray-address needs --engine ray"),
    ],
)
def test_bad_input_is_one_line(
    models: Models, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    code, _, err = call(capsys, "--task", "toy_a", "--model", "toy", "--out", "s", *arguments)
    assert code == 2
    assert expected in err.strip().splitlines()[-1]
    assert models.toy.asked == []


def test_failed_samples_end_in_exit_code_1(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    models.toy.fail = frozenset({2})
    code, _, err = call(capsys, "--task", "toy_a", "--model", "toy", "--steps", "2,4", "--out", "s")
    assert code == 1
    assert "error: 2 samples failed" in err
    assert Path("s/sweep.md").is_file()
    code, _, err = call(
        capsys, "--task", "toy_a", "--model", "toy", "--steps", "2", "--out", "t", "--max-failures", "0"
    )
    assert code == 1
    assert "point 1 of 1, steps=2: 1 samples failed (allowed: 0" in err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["sweep", "--help"]) == 0
    assert "lladav-eval sweep --task pocket_counts" in capsys.readouterr().out
