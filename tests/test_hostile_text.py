"""Hostile text of models and data sets does nothing in any output: a run and every command, from end to end."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import toy
from reports.synthetic import HOSTILE

from lladav_eval.cli.main import invoke


class Tags(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed"):
            self.scripts.append(dict(attrs).get("src"))
        self.handlers += [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[toy.ToyModel], Path]:
    """Sets up the command line for a model on the toy tasks, in an empty folder."""

    def use(model: toy.ToyModel) -> Path:
        folder = toy.write_tasks(tmp_path / "tasks", rows=6, unreadable=[1])
        functions = folder / "toy_functions.py"
        functions.write_text(functions.read_text().replace("which colour is this?", "which colour? {HOSTILE}"))
        functions.write_text(f"HOSTILE = {HOSTILE!r}\n" + functions.read_text())
        toy.use_tasks(folder, monkeypatch)
        monkeypatch.setitem(sys.modules, "lladav_eval.adapters.models", toy.install(folder, model))
        monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "work" / "summary.md"))
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")
        return tmp_path / "work"

    return use


def test_hostile_text_does_nothing_in_any_output(
    shell: Callable[[toy.ToyModel], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """The model answers, fails and is called in hostile words, the task asks in them; then every command runs."""
    model = toy.ToyModel(name=HOSTILE, say={0: HOSTILE, 2: "=1+1", 3: HOSTILE * 3})
    model.fail = frozenset([4])
    folder = shell(model)
    codes = [
        invoke(["run", "--task", "toy_a", "--model", "toy", "--out", name, "--max-failures", "9"]) for name in "ab"
    ]
    assert codes == [1, 1], "some samples failed"
    for arguments in (
        ["report", "a", "b", "--out", "report"],
        ["compare", "a", "b", "--out", "compared"],
        ["regress", "--baseline", "a", "--candidate", "b", "--junit", "r.xml", "--markdown", "r.md", "--github"],
        *(["leaderboard", "a", "--format", kind, "--out", f"board.{kind}"] for kind in ("md", "csv", "tex", "html")),
        ["leaderboard", "a"],
    ):
        assert invoke(arguments) in (0, 1), arguments
    out, err = capfd.readouterr()
    for text in (out, err):
        assert not set(text) & {"\x1b", "\x07", "\x00", "\u202e"}
        assert "\n::error title=x::stop" not in text
    pages = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*") if is_text(path)}
    assert {path.suffix for path in pages} >= {".md", ".csv", ".tex", ".html", ".xml", ".json", ".jsonl", ".js"}
    for path, text in pages.items():
        check_page(path, text)


def is_text(path: Path) -> bool:
    return path.is_file() and path.suffix in {".md", ".csv", ".tex", ".html", ".xml", ".json", ".jsonl", ".js", ".svg"}


def check_page(path: Path, text: str) -> None:
    assert not set(text) & {"\x1b", "\x07", "\x00", "\u202e"}, path
    if path.suffix in (".html", ".md", ".xml", ".svg"):
        assert "<script>alert" not in text, path
    if path.suffix == ".html":
        tags = Tags(text)
        assert all(source and not source.startswith(("http", "//", "data:")) for source in tags.scripts), path
        assert not tags.handlers, path
    if path.suffix == ".md":
        assert not re.search(r"(?<!\\)\]\(javascript:", text), path
        assert not re.search(r"(?m)^# head", text), path
        assert "@someone" not in text, path
    if path.suffix == ".csv":
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert cells
        assert not any(cell.lstrip()[:1] in ("=", "+", "-", "@") and not is_number(cell) for cell in cells), path
    if path.suffix == ".tex":
        assert "\\input{/etc" not in text, path
    if path.suffix in (".json", ".jsonl"):
        assert text.isascii(), path


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
