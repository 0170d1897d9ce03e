"""docs/checking-a-number.md and docs/ci/README.md: their commands are run, and what the pages say of them is so."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from lladav_eval.cli.main import invoke

ROOT = Path(__file__).resolve().parents[2]
WORDS = {"TASK": "pocket_digits", "MODEL": "pocket"}


def commands(page: str) -> list[list[str]]:
    """Words behind ``lladav-eval`` of every command of a page, small ones in the place of capitals."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [line[2:] for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    found = [[WORDS.get(word, word) for word in shlex.split(part)] for line in lines for part in line.split(" || ")]
    assert all(words[0] == "lladav-eval" for words in found)
    return [words[1:] + ["--limit", "8"] * (words[1] == "run" and "--limit" not in words) for words in found]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rewrite(run: Path, value: float) -> None:
    """Every sample right, in both files, as somebody would who wants to show off."""
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    lines = [json.dumps({**row, "metrics": {"accuracy": value / 100}}) + "\n" for row in rows]
    (run / "samples.jsonl").write_text("".join(lines))
    results = json.loads((run / "results.json").read_text())
    results["tasks"]["lladav_pocket_digits"]["metrics"]["accuracy"]["value"] = value
    (run / "results.json").write_text(json.dumps(results))


def test_a_number_is_checked_as_the_page_says(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", "--task", "pocket_digits", "--model", "pocket", "--limit", "8", "--out", "RUN"]) == 0
    page = commands("docs/checking-a-number.md")
    assert len(page) == 6
    assert [invoke(words) for words in page] == [0] * 6
    capsys.readouterr()
    assert invoke([*page[3], "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out.splitlines()[-1])["pairs"]
    assert (pair["wins"], pair["losses"]) == (0, 0)
    rewrite(here / "RUN", 0.0)
    assert invoke([*page[3], "--json"]) == 0  # the forged file agrees with itself, and with the texts it doesn't
    (pair,) = json.loads(capsys.readouterr().out.splitlines()[-1])["pairs"]
    assert pair["wins"] > 0


def test_a_pipeline_ends_as_the_page_says(here: Path) -> None:
    first, run, regress, *again = commands("docs/ci/README.md")
    assert invoke(run) == 0
    assert invoke(regress) == 2
    assert 'errors="1"' in (here / "regress.xml").read_text()
    assert invoke(first) == 0
    assert [invoke(words) for words in (regress, *again)] == [0, 0, 0]
    for file in ("journal.jsonl", "table.md"):
        (here / "BASELINE" / file).unlink()
    assert invoke(regress) == 0
    rewrite(here / "CANDIDATE", 0.0)
    assert invoke(regress) == 1
    assert re.search('failures="[1-9]"', (here / "regress.xml").read_text())
