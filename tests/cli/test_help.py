"""What ``--help`` says: every option, example and setting, whole, without loading anything heavy."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lladav_eval.cli.main import app, invoke

HEAVY = {"torch", "transformers", "lmms_eval", "datasets", "pandas", "numpy", "PIL", "yaml", "huggingface_hub"}


def test_help_loads_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys; from lladav_eval.cli.main import invoke; c = [invoke(['--help']), invoke(['run', '--help'])];"
        f"print(c, sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1  # about 0.2 s, however busy the machine
    assert done.stderr.strip() == "[0, 0] []"
    assert "--max-failures" in done.stdout
    assert "lladav-eval run --task pocket --model pocket" in done.stdout


def test_the_options_are_those_of_the_design() -> None:
    from typer.main import get_command

    command = get_command(app)
    assert set(command.commands) >= {"run", "tasks", "models", "doctor"}  # type: ignore[attr-defined]
    options = {name for param in command.commands["run"].params for name in (*param.opts, *param.secondary_opts)}  # type: ignore[attr-defined]
    assert options == {
        "--task", "-t", "--model", "-m", "--limit", "--out", "--batch-size", "--gen", "--cache", "--protocol", "--data",
        "--judge", "--offline", "--engine", "--workers", "--ray-address", "--seed", "--resume", "--no-resume",
        "--retry-failed", "--device", "--dtype", "--trace", "--max-failures", "--time-limit",
        "--accelerate", "--include-path",
    }  # fmt: skip


@pytest.mark.parametrize("group", [[], ["data"]])
def test_what_a_command_does_is_not_cut_off(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([*group, "--help"]) == 0
    out = capsys.readouterr().out
    commands = out.partition("Commands:")[2].partition("\n\n")[0]
    assert commands.strip()
    assert "..." not in commands


def test_every_command_has_an_example() -> None:
    from typer.main import get_command

    commands: dict[str, Any] = dict(get_command(app).commands)  # type: ignore[attr-defined]
    commands |= {f"data {name}": command for name, command in commands["data"].commands.items()}
    for name, command in commands.items():
        assert f"lladav-eval {name}" in (command.epilog or ""), name


def test_every_generation_setting_is_told() -> None:
    from lladav_eval.cli.run import EXAMPLES
    from lladav_eval.settings import TABLE

    names = {"think_mode" if setting == "mode" else setting for setting, _ in TABLE.values()}
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    for name in names:
        assert name in EXAMPLES
        assert f"| `{name}`" in readme or f", `{name}`" in readme
    assert "cfg_scale" in names


def test_no_command_shows_the_help_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: lladav-eval")
    assert len(shown.splitlines()) > 10
    assert "error:" not in shown


@pytest.mark.parametrize(
    "name", ["run", "score", "plan", "compare", "sweep", "leaderboard", "regress", "report", "log"]
)
def test_examples_of_help_can_be_pasted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from importlib import import_module

    monkeypatch.setenv("COLUMNS", "60")
    assert invoke([name, "--help"]) == 0
    out = capsys.readouterr().out
    lines = {line.strip() for line in out.splitlines()}
    examples = import_module(f"lladav_eval.cli.{name}").EXAMPLES.splitlines()
    commands = [line for line in examples if line.startswith("lladav-eval")]
    assert commands
    assert set(commands) <= lines
