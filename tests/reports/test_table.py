"""The table shows every count, and no text of a model or a task can do more than be shown."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lladav_eval.reports.cost import COST as COSTS
from lladav_eval.reports.table import COLUMNS, header, markdown_table, notes, print_results

TASK = {
    "n": 40, "scored": 34, "failed": 3, "unparsed": 2, "empty": 1, "headline": "accuracy",
    "metrics": {"accuracy": {"value": 62.5, "low": 47.03, "high": 75.78, "method": "wilson"}},
    "seconds_per_sample": 0.12345, "forward_passes_per_sample": 16.0,
}  # fmt: skip


def results(model: str = "toy", **tasks: dict[str, Any]) -> dict[str, Any]:
    code = {"git": {"commit": "0123456789abcdef", "dirty": True}}
    facts = {"model": model, "protocol": "strict", "date": "2026-11-26T21:00:00+00:00", "code": code}
    return {**facts, "tasks": tasks or {"lladav_toy": TASK}}


def shown(content: dict[str, Any], width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_results(content, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


FIGURES = ["toy", "40", "3", "2", "1", "62.5", "47.0 to 75.8", "0.123", "16.0"]


def test_every_figure_is_there() -> None:
    lines = markdown_table(results()).splitlines()
    assert lines[0] == "# toy, protocol strict, commit 0123456789+, 2026-11-26T21:00:00+00:00"
    assert lines[2].strip("| ").split(" | ") == list(header(results()))
    assert lines[4].strip("| ").split(" | ") == FIGURES
    text = shown(results(), width=80)
    assert "toy, protocol strict, commit 0123456789+, 2026-11-26T21:00:00+00:00" in text.splitlines()
    assert text.splitlines()[-1].split() == " ".join(FIGURES).split()
    assert all(word in text for word in " ".join(header(results())).replace("/", " /").split())


@pytest.mark.parametrize("width", [1, 20, 40, 60])
def test_a_narrow_screen_cuts_no_figure_and_no_name_off(width: int) -> None:
    text = shown(results(lladav_a_task_of_a_long_name=TASK), width)
    assert all(figure in text for figure in FIGURES[1:])
    folded = "".join(line.split(" ")[0] for line in text.splitlines())
    assert "a_task_of_a_long_name" in folded


def test_changed_settings_are_told_once_where_the_title_has_them_not() -> None:
    asked = {"settings": {"steps": 2}, "changed": {"steps": 4, "stop": []}, "changed_to": {"steps": 2, "stop": ["\n"]}}
    content = results(lladav_a=TASK | asked, lladav_b=TASK | asked, lladav_c=TASK)
    assert notes(content) == ['a, b: stop is ["\\n"] instead of the task\'s []']
    assert "Note: a, b: stop is " in markdown_table(content)


def test_tasks_of_different_metrics_name_them() -> None:
    other = {**TASK, "headline": "sum", "metrics": {"sum": TASK["metrics"]["accuracy"]}}
    text = markdown_table(results(lladav_a=TASK, lladav_b=other))
    assert "| 62.5 accuracy |" in text
    assert "| 62.5 sum |" in text
    assert "| accuracy |" in markdown_table(results())


def test_a_run_from_before_dates_were_recorded_says_so() -> None:
    old = {"model": "toy", "protocol": "strict", "tasks": {"lladav_toy": TASK}}
    assert markdown_table(old).splitlines()[0] == "# toy, protocol strict, no commit, no date"


def test_approximate_decoding_is_named_and_has_a_column_of_its_own() -> None:
    fast = {**TASK, "approximate": "cache=dual:32"}
    text = markdown_table(results(lladav_a=fast))
    assert "approximate decoding \\(cache=dual:32\\)" in text.splitlines()[0]
    assert "| accuracy \\(approximate\\) |" in text
    assert "| 62.5 accuracy \\(approximate\\) |" in markdown_table(results(lladav_a=fast, lladav_b=TASK))


def test_a_metric_without_interval_shows_a_dash() -> None:
    task = {**TASK, "metrics": {"accuracy": {"value": 1.0, "low": None, "high": None, "method": None}}}
    assert "| - |" in markdown_table(results(lladav_x=task))


HOSTILE = "[red]x[/red] \x1b[31m\x1b]0;title\x07 | <script>alert(1)</script> [a](b) \u202eevil\n# head"


def test_hostile_names_stay_text() -> None:
    text = shown(results(HOSTILE))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]x[/red]" in text
    markdown = markdown_table(results(HOSTILE, **{HOSTILE: TASK}))
    assert "<script>" not in markdown
    assert "[a](b)" not in markdown
    assert len(markdown.splitlines()) == 5
    assert all(line.replace("\\|", "").count("|") == len(COLUMNS) + 1 for line in markdown.splitlines()[2:])


COST = {
    "answered": 37, "forward_passes": None, "prompt_tokens": {"known": 37, "total": 370, "mean": 10},
    "output_tokens": None, "flops": {"known": 37, "total": 37 * 4e12, "mean": 4e12},
    "seconds": {"known": 37, "total": 37.0, "mean": 1.0}, "media_seconds": {"known": 37, "total": 7.4, "mean": 0.2},
    "prefill_seconds": None, "decode_seconds": None, "peak_memory": {"known": 37, "largest": 2_500_000_000},
}  # fmt: skip


def test_what_the_answers_cost_is_shown() -> None:
    content = results(lladav_toy={**TASK, "cost": COST, "forward_passes_per_sample": None})
    figures = ["toy", "10.0", "-", "4 T", "-", "-", "1.2", "2.5 GB"]
    lines = markdown_table(content).splitlines()
    assert lines[4].strip("| ").split(" | ")[-1] == "-"
    assert lines[6].strip("| ").split(" | ") == ["task", *COSTS]
    assert lines[8].strip("| ").split(" | ") == figures
    assert "'-': the model doesn't tell" in lines[10]
    text = shown(content, width=80)
    assert text.splitlines()[-1].split() == " ".join(figures).split()
    assert "cost per answered sample" in text


def test_settings_and_the_part_of_the_split_stand_beside_the_figures() -> None:
    def task(steps: int, rows: int) -> dict[str, Any]:
        return {**TASK, "rows": rows, "settings": {"gen_length": 8, "block_length": 4, "steps": steps}}

    text = markdown_table(results(lladav_a=task(2, 250), lladav_b=task(2, 40)))
    assert "gen/block/steps 8/4/2" in text.splitlines()[0]
    assert "| 40 of 250 |" in text
    assert "| 40 |" in text
    text = markdown_table(results(lladav_a=task(2, 40), lladav_b=task(8, 40)))
    assert "gen/block/steps 8/4/2 \\(a\\); 8/4/8 \\(b\\)" in text.splitlines()[0]
