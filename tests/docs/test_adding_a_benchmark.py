"""docs/adding-a-benchmark.md, followed in a copy of the checkout: its files are written, its commands run in order."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lladav_eval.scoring.registry import Scorer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/adding-a-benchmark.md").read_text(encoding="utf-8")
REGISTRY = "lladav_eval/scoring/registry.py"

PROGRAM = """
import json, runpy, shlex, sys
from lladav_eval.cli.main import invoke
for line in sys.stdin:
    program, *arguments = shlex.split(line)
    if program == "python":
        runpy.run_path(*arguments)
    else:
        assert program == "lladav-eval", program
        assert invoke(arguments) == 0, line
    print(flush=True)
    print("-- done", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A piece of code of the page."""

    language: str
    code: str

    @property
    def file(self) -> str:
        """Where its first line says it goes."""
        return self.code.splitlines()[0].removeprefix("# ")


def blocks(*languages: str) -> list[Block]:
    found = [Block(*match) for match in re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)]
    return [block for block in found if block.language in languages]


def commands() -> list[str]:
    return [line[2:] for block in blocks("console") for line in block.code.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The checkout after the page was followed, and what each command printed."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("lladav_eval", "tasks", "results/reference"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks("python", "yaml"):
        path = checkout / block.file
        if block.file == REGISTRY:
            line = block.code.split("\n", 1)[1]
            text = path.read_text()
            assert text.count("_MODULES = {\n") == 1
            path.write_text(text.replace("_MODULES = {\n", "_MODULES = {\n" + line))
        else:
            assert not path.exists(), block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code)
    (answers,) = blocks("jsonl")
    (checkout / "answers.jsonl").write_text(answers.code)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "LMMS_EVAL_DATASETS_CACHE": str(checkout / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=checkout,
        env=environment,
        input="\n".join(commands()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return checkout, done.stdout.split("-- done\n")[:-1]


def test_every_command_of_the_page_was_run(followed: tuple[Path, list[str]]) -> None:
    assert len(commands()) == 8
    assert len(followed[1]) == 8


def test_both_protocols_give_what_the_page_says(followed: tuple[Path, list[str]]) -> None:
    official, strict = followed[1][1:3]
    assert re.search(r"accuracy\W+25\.0000", official)
    assert "n 4: scored 3, unparsed 0, empty 1, failed 0" in official
    assert re.search(r"accuracy\W+50\.0000", strict)
    assert "n 4: scored 2, unparsed 1, empty 1, failed 0" in strict
    assert "`official` gives 25.0" in PAGE
    assert "`strict` 50.0 with one answer unparsed and one empty" in PAGE


def test_the_run_asks_what_the_page_asks_and_scores_both_ways(followed: tuple[Path, list[str]]) -> None:
    checkout, printed = followed
    results = json.loads((checkout / "runs/colours/results.json").read_text())
    task = results["tasks"]["lladav_colours"]
    assert (task["n"], task["failed"], task["cost"]["answered"]) == (4, 0, 4)
    assert set(task["metrics"]) == {"official", "strict"}
    samples = [json.loads(line) for line in (checkout / "runs/colours/samples.jsonl").read_text().splitlines()]
    assert samples[2]["prompt"] == "Which colour is this?\nAnswer with one word."
    assert [row["target"] for row in samples] == ["red", "green", "blue", "red"]
    assert samples[0]["cost"]["prompt_tokens"] > 10
    assert "colours" in printed[3]


def test_videos_are_asked_like_pictures(followed: tuple[Path, list[str]]) -> None:
    checkout, printed = followed
    task = json.loads((checkout / "runs/flashes/results.json").read_text())["tasks"]["lladav_flashes"]
    assert (task["n"], task["failed"], task["cost"]["answered"]) == (2, 0, 2)
    samples = [json.loads(line) for line in (checkout / "runs/flashes/samples.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in samples] == ["Which colour flashes?\nAnswer with one word."] * 2
    assert samples[0]["media"] != samples[1]["media"]
    settings = json.loads((checkout / "runs/flashes/manifest.json").read_text())["tasks"]["lladav_flashes"]["settings"]
    assert (settings["num_frames"], settings["mode"]) == (4, "no_think")
    assert "flashes" in printed[5]


def test_two_files_are_enough_for_a_task(followed: tuple[Path, list[str]]) -> None:
    *_, table, leaderboard = followed[1]
    assert re.search(r"own_colours +4 ", table)
    assert "own\\_colours" in leaderboard
    samples = (followed[0] / "runs/own/samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["target"] for line in samples] == ["red", "green", "blue", "red"]


def test_its_code_is_as_clean_as_ours(followed: tuple[Path, list[str]]) -> None:
    files = [
        block.file for block in blocks("python") if block.file.startswith("lladav_eval/") and block.file != REGISTRY
    ]
    assert len(files) == 3
    check = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), *files]
    done = subprocess.run(check, cwd=followed[0], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_scorer_has_the_fields_it_names() -> None:
    named = set(re.findall(r"`(\w+)=(?:True|False)`", PAGE))
    assert named
    assert named <= Scorer.__dataclass_fields__.keys()


def test_the_files_it_names_exist() -> None:
    made = {block.file for block in blocks("python", "yaml")}
    named = set(re.findall(r"`((?:lladav_eval|tests|docs|tasks)/[\w./-]+)`", PAGE)) - made
    assert len(named) > 5
    for path in named:
        assert (ROOT / path).exists(), path
    assert shlex.split(commands()[0])[1] == blocks("python")[0].file
