"""The command line: light, honest exit codes, one line per error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))
import toy

from lladav_eval.cli import main as main_module
from lladav_eval.cli.main import invoke
from lladav_eval.runs.tasks import tasks_dir


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=6), monkeypatch)
    monkeypatch.setitem(sys.modules, "lladav_eval.adapters.models", toy.install(folder, toy.ToyModel()))
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(arguments)
    out, err = capsys.readouterr()
    return code, out, err


RUN = ("run", "--task", "toy_a", "--model", "toy")


def test_a_run_prints_its_table_and_leaves_its_files(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, *RUN, "--limit", "4", "--out", "r")
    assert code == 0, err
    assert "toy_a" in out
    assert "100.0" in out
    assert "run directory: r" in out
    assert {path.name for path in Path("r").iterdir()} >= {
        "manifest.json", "journal.jsonl", "samples.jsonl", "results.json", "table.md"
    }  # fmt: skip
    assert "toy\\_a" in Path("r/table.md").read_text()
    assert "Generating" not in err


def test_failed_samples_end_in_exit_code_1(tmp_path: Path, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write_tasks(tasks, rows=6, unreadable=[2])
    code, _out, err = call(capsys, *RUN, "--out", "r")
    assert code == 1
    assert "error: 1 of 6 samples failed" in err
    failed = json.loads(Path("r/results.json").read_text())["tasks"]["lladav_toy_a"]["failed"]
    assert failed == 1
    assert "| 6 | 1 |" in Path("r/table.md").read_text()


def test_the_default_directory_is_the_same_for_the_same_command(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, *RUN, "--limit", "2")[0] == 0
    assert call(capsys, *RUN, "--limit", "2", "--batch-size", "1", "--workers", "1")[0] == 0
    (run,) = Path("results/runs").iterdir()
    assert run.name.startswith("toy-toy_a-")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "toy_c"), "unknown task 'toy_c'; did you mean toy"),
        (("--model", "tox"), "unknown model 'tox'"),
        (("--gen", "stepz=4"), "unknown setting 'stepz'; did you mean steps"),
        (("--gen", "steps"), "write KEY=VALUE"),
        (("--gen", "steps=3"), "steps=3 is not divisible"),
        (("--limit", "0"), "--limit"),
        (("--batch-size", "0"), "--batch-size '0'"),
        (("--batch-size", "many"), "give auto or a number"),
        (("--batch-size", "9" * 5000), "give auto or a number"),
        (("--max-failures", "x"), "--max-failures 'x'"),
        (("--time-limit", "0"), "--time-limit"),
        (("--out", "file/x"), "can't be written"),
        (("--out", "x" * 300), "xxx...: File name too long; give a shorter path"),
        (("--cache", "dual", "--gen", "cache=dllm"), "cache=dllm and cache=dual contradict each other"),
        (("--cache", "huge"), "--cache"),
        (("--protocol", "official"), "has no official protocol"),
        (("--engine", "slurm"), "--engine"),
        (("--workers", "0"), "--workers"),
        (("--ray-address", "head:6379"), "--ray-address needs --engine ray"),
        (("--engine", "ray", "--device", "cuda:1"), "Ray gives every worker a GPU of its own"),
        (("--data", "nowhere"), "no such folder"),
        (("--dtype", "int3"), "--dtype"),
        (("--nonsense",), "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tasks: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    Path("file").write_text("")
    code, _out, err = call(capsys, *RUN, *arguments)
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not list(Path.cwd().glob("results/runs/*/results.json"))


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("run",), "see lladav-eval run --help"),
        (("run", "--task", "toy_a"), "see lladav-eval run --help"),
        (("nonsense",), "see lladav-eval --help"),
    ],
)
def test_missing_arguments_are_one_line_too(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], place: str
) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert place in err


def test_an_endless_error_keeps_its_beginning_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "run", "--task", "x" * 1_000_000, "--model", "pocket")
    assert (code, len(err) < 5000) == (2, True)
    assert err.startswith("error: unknown task 'xxx")
    assert err.endswith("`lladav-eval tasks` lists all\n")


def test_an_unforeseen_error_is_one_line_with_exit_code_3(
    tasks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: object, questions: Any) -> Any:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr(toy.ToyModel, "answer", answer)
    code, _, err = call(capsys, *RUN, "--out", "r")
    assert code == 3
    assert err.splitlines()[-1].startswith("error: ZeroDivisionError: oh no (unforeseen; lladav-eval --debug")
    assert "Traceback" not in err
    monkeypatch.delenv(main_module.DEBUG_VARIABLE, raising=False)
    monkeypatch.setenv(main_module.DEBUG_VARIABLE, "")
    code, _, err = call(capsys, "--debug", *RUN, "--out", "r")
    assert "Traceback" in err


def test_ctrl_c_is_exit_code_130_with_the_resume_command(
    tasks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lladav_eval.adapters.models", toy.install(tasks, toy.ToyModel(stop_after=2)))
    code, _, err = call(capsys, *RUN, "--batch-size", "2", "--out", "r")
    assert code == 130
    assert err.splitlines()[-1].startswith("error: interrupted after 2 of 6 samples; resume with: lladav-eval run")


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("command", [["run", "--task", "pocket", "--model", "pocket"], ["tasks"]])
def test_a_signal_before_and_after_the_work_too(number: str, command: list[str]) -> None:
    """Also inside an ``exec``, and where a library makes another error of it: that is what imports may do."""
    code = f"""
import os, signal
from lladav_eval.cli import console, main, preflight

def check(*_):
    exec("os.kill(os.getpid(), signal.{number})")

def output():
    try:
        check()
    except BaseException:
        pass
    raise ImportError("can't be loaded twice")

preflight.check, console.output = check, output
main.main({command})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_tasks_and_models_are_listed(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "tasks", "--json")
    assert code == 0
    assert [entry["name"] for entry in json.loads(out)] == ["lladav_toy", "lladav_toy_a", "lladav_toy_b"]
    assert "colours of small images" in call(capsys, "tasks")[1]
    assert json.loads(call(capsys, "models", "--json")[1]) == [{"name": "toy", "description": "names colours"}]
    assert "names colours" in call(capsys, "models")[1]


@pytest.mark.parametrize("command", ["tasks", "data list"])
def test_names_stay_whole_on_the_narrowest_screen(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert "mathverse_vision_intensive" in call(capsys, *command.split())[1]


def test_the_installed_command_reports_an_unknown_task_without_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from lladav_eval.cli.main import main; main()", "run", "--task", "x", "--model", "y"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown task 'x'")
    assert done.stdout == ""


def test_ray_that_is_missing_is_said_with_the_command_that_installs_it(
    tasks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lladav_eval.engine import ray

    monkeypatch.setattr(ray, "find_spec", lambda _: None)
    code, _out, err = call(capsys, *RUN, "--engine", "ray", "--out", "r")
    assert code == 3
    assert err == "error: --engine ray needs the package ray: pip install 'lladav_eval[ray]'\n"


def test_a_system_without_file_locks_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    code, _, err = call(capsys, "tasks")
    assert (code, err.count("\n")) == (3, 1)
    assert "run it inside WSL" in err


def test_a_folder_of_tasks_is_taken_by_every_command_that_reads_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own").mkdir()
    suite = tasks_dir() / "pocket/lladav_pocket_choice.yaml"
    Path("own/lladav_mine.yaml").write_text(f"include: {suite}\ntask: lladav_mine\n")
    ask = ("--task", "mine", "--model", "pocket", "--include-path", "own")
    assert invoke(("run", *ask, "--limit", "2", "--out", "run")) == 0
    spec = json.loads(Path("run/manifest.json").read_text())["spec"]
    assert spec["include_path"] == ["own"]
    for command in (
        ("tasks", "--include-path", "own"),
        ("plan", *ask, "--gpu", "cpu"),
        ("sweep", *ask, "--steps", "1,2", "--limit", "2", "--out", "sweep"),
        ("report", "run", "--include-path", "own"),
    ):
        assert invoke(command) == 0, command
        assert invoke([word for word in command if word not in ("--include-path", "own")]) == 2 * (
            command[0] != "tasks"
        )
    capsys.readouterr()
    assert invoke(("run", "--task", "mine", "--model", "pocket", "--include-path", "other")) == 2
    assert "other does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "pocket", "--out", ""], "--out is empty or the current directory"),
        (["--model", "pocket", "--out", ".."], "--out .. is or holds the current directory"),
        (["--model", "pocket", "--out", "/"], "--out / is or holds the current directory"),
        (["--model", "pocket", "--time-limit", "inf"], "'--time-limit': Input should be less than"),
        (["--model", "./nope"], "no such directory, and not a hub name"),
    ],
)
def test_options_of_run_that_mean_nothing(capsys: pytest.CaptureFixture[str], options: list[str], said: str) -> None:
    assert invoke(["run", "--task", "pocket_digits", "--limit", "1", *options]) == 2
    assert said in capsys.readouterr().err


def test_a_run_goes_on_from_inside_its_folder_but_not_from_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lladav_eval.cli.run import _refuse_a_folder_above

    inside = tmp_path / "run" / "report"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    _refuse_a_folder_above(tmp_path / "run", known=True)
    _refuse_a_folder_above(tmp_path / "run2", known=False)
    inside.rmdir()
    assert invoke(["run", "--task", "pocket_digits", "--limit", "1", "--model", "pocket"]) == 3
    assert "the current directory has been removed" in capsys.readouterr().err
