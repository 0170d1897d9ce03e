"""docs/adding-a-model.md, followed: its code runs, its command works, the fields and files it names exist."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tiny_hf import write_hf

from lladav_eval.adapters.models import AVAILABLE, PREFIXES
from lladav_eval.records import Generation

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/adding-a-model.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "datasets"))


def test_the_example_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    code = blocks("python")
    assert len(code) == 2
    names: dict[str, Any] = {"__name__": "page"}
    for block in code:
        exec(compile(block, "docs/adding-a-model.md", "exec"), names)
    task = names["result"].results["tasks"]["lladav_pocket_digits"]
    assert (task["n"], task["failed"]) == (4, 0)
    assert "'n': 4" in capsys.readouterr().out
    assert Path("runs/counts-images/journal.jsonl").read_text().count("\n") == 4


def test_the_command_runs_as_it_stands() -> None:
    from lladav_eval.cli.main import invoke

    write_hf("llava_next", Path("tiny-llava"))
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) == 1
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "lladav-eval"
        assert invoke(arguments) == 0
    assert Path("runs/llava/results.json").exists()


def test_every_kind_of_model_is_on_the_page() -> None:
    for prefix in PREFIXES:
        assert f"`{prefix}:" in PAGE
    for name in AVAILABLE:
        if name not in ("pocket", "pocket-ar", "lmms:mmada"):
            assert f"`{name}`" in PAGE, name


def test_the_fields_and_files_it_names_exist() -> None:
    fields = {field.name for field in dataclasses.fields(Generation)}
    table = PAGE[PAGE.index("| field of `Generation`") : PAGE.index("## A model of your own")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(named) >= 8
    assert named <= fields
    for path in re.findall(r"`((?:lladav_eval|tests|docs)/[\w./-]+)`", PAGE):
        assert (ROOT / path).exists(), path
