"""What a regression writes of hostile texts: JUnit, annotations, Markdown, the terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from lxml import etree
from markdown_it import MarkdownIt
from reports.pairs import SCHEMA, hostile_pair
from reports.synthetic import HOSTILE
from rich.console import Console

from lladav_eval.reports.ci import annotation_lines, error_annotation, error_junit, junit
from lladav_eval.reports.regression import Regression
from lladav_eval.reports.regression_text import error_markdown, markdown, print_regression


@pytest.fixture
def hostile(tmp_path: Path) -> Regression:
    return hostile_pair(tmp_path)


def test_junit_is_valid_and_counts(hostile: Regression) -> None:
    text = junit(hostile)
    root = etree.fromstring(text.encode())
    assert SCHEMA.validate(root), SCHEMA.error_log
    suite = root[0]
    # overall and a are worse; b can't tell; the category that is worse is told, but fails nothing
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "2", "2")
    assert len(root.findall(".//failure")) == 2
    assert len(root.findall(".//skipped")) == 2
    properties = {item.get("name"): item.get("value") for item in root.iter("property")}
    assert properties["candidate.protocol"] == "strict"
    assert properties["baseline.commit"] == "0123456789abcdef"
    assert properties["candidate.n"] == "200"


def test_the_schema_refuses_other_xml(hostile: Regression) -> None:
    text = junit(hostile)
    for old, new in (('tests="5"', 'tests="many"'), ("<failure ", "<broken "), (' name="overall"', "")):
        assert old in text
        assert not SCHEMA.validate(etree.fromstring(text.replace(old, new).replace("</failure>", "").encode(), RECOVER))


RECOVER = etree.XMLParser(recover=True)


def test_annotations_are_single_commands(hostile: Regression) -> None:
    lines = list(annotation_lines(hostile))
    assert [line.split(" ", 1)[0] for line in lines] == ["::error", "::error", "::warning", "::warning"]
    assert all("\n" not in line and "\r" not in line and "\x1b" not in line for line in lines)
    assert "n = 200" in lines[0]
    assert "protocol strict" in lines[0]
    assert "commit 0123456789" in lines[0]


def test_markdown_shows_flips_and_no_markup_of_the_model(hostile: Regression) -> None:
    text = markdown(hostile)
    assert "<details><summary>11 samples lost</summary>" in text
    assert "| a | 9 |" in text
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert page.count("<table>") == 2
    assert page.count("<tr>") == 1 + len(hostile.rows) + 1 + len(hostile.lost)
    assert page.count("</details>") == 1
    for part in ("<script", "<h1", "<a ", "<img"):
        assert part not in page
    assert "\x1b" not in text
    assert "\n# head" not in text
    assert "\n::error" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {11, 6}


def test_the_terminal_is_not_steered(hostile: Regression) -> None:
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    print_regression(hostile, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]" in shown
    assert "verdict: worse" in shown
    assert "lost: 11 (a#0, a#1" in shown


def test_hostile_errors_stay_text() -> None:
    text = error_junit(HOSTILE, HOSTILE, HOSTILE)
    root = etree.fromstring(text.encode())
    assert SCHEMA.validate(root), SCHEMA.error_log
    assert len(list(root.iter())) == 4
    assert "\u202e" not in text
    line = error_annotation(HOSTILE)
    assert not any(char in line for char in "\n\r\x1b\u202e")
    document = error_markdown(HOSTILE, HOSTILE, HOSTILE)
    assert "\x1b" not in document
    assert "\n::error" not in document
    page = MarkdownIt("commonmark").render(document)
    assert (page.count("<li>"), page.count("<h2>"), page.count("<h1>")) == (3, 1, 0)
    for part in ("<script", "<a ", "<img", "<code", "</details>"):
        assert part not in page
