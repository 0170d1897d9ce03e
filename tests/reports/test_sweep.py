"""Points of a sweep side by side: exact and approximate never share a column, a front or a line."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from PIL import Image
from reports.synthetic import HOSTILE, Sheet, write_run
from rich.console import Console

from lladav_eval.errors import UsageError
from lladav_eval.reports.load import load_run
from lladav_eval.reports.plots import plot_sweep
from lladav_eval.reports.run_data import RunData
from lladav_eval.reports.sweep import Left, Sweep, build_sweep
from lladav_eval.reports.sweep_text import as_csv, markdown, print_sweep

TASK = "lladav_a"
LEFT = Left(TASK, 3, 8, "dual:32", f"steps=3 is not divisible {HOSTILE}")


def sheet(right: int, seconds: float, passes: int, steps: int = 1, cache: str | None = None) -> Sheet:
    settings = {"steps": steps, "block_length": 8, "cache": cache, "threshold": None}
    return Sheet([1.0] * right + [0.0] * (10 - right), seconds=seconds, forward_passes=passes, settings=settings)


def run(path: Path, *sheets: Sheet, **options: Any) -> RunData:
    return load_run(write_run(path, dict(zip("ab", sheets, strict=False)), **options))


@pytest.fixture
def points(tmp_path: Path) -> list[RunData]:
    given = [
        sheet(4, 0.1, 1, 1),
        sheet(6, 0.2, 2, 2),
        sheet(5, 0.3, 4, 4),  # beaten by the one before
        sheet(8, 0.5, 8, 8),
        sheet(8, 0.4, 8, 8, "dual:32"),  # would beat the one before, were they of one kind
        sheet(3, 0.1, 1, 1, "dual:32"),
    ]
    return [run(tmp_path / f"p{number}", found) for number, found in enumerate(given)]


@pytest.fixture
def sweep(tmp_path: Path, points: list[RunData]) -> Sweep:
    baseline = run(tmp_path / "ar", sheet(7, 0.25, 5), model=f"ar {HOSTILE}", kind="autoregressive")
    return build_sweep([TASK], points, [LEFT], baseline)


def test_fronts_are_of_one_kind_of_decoding(sweep: Sweep) -> None:
    both = ("seconds", "forward_passes")
    assert [row.front for row in sweep.rows] == [both, both, (), both, both, both]
    assert [row.samples_per_second for row in sweep.rows[:2]] == [10, 5]


def test_equal_points_share_a_front_and_costs_are_apart(tmp_path: Path) -> None:
    given = [sheet(5, 0.1, 2), sheet(5, 0.1, 2), sheet(5, 0.1, 1), sheet(5, 0.05, 4)]
    rows = build_sweep([TASK], [run(tmp_path / f"p{n}", found) for n, found in enumerate(given)], []).rows
    assert [row.front for row in rows] == [(), (), ("forward_passes",), ("seconds",)]
    twice = build_sweep([TASK], [run(tmp_path / f"q{n}", given[0]) for n in range(2)], []).rows
    assert [len(row.front) for row in twice] == [2, 2]


def test_every_number_has_its_facts_in_every_format(sweep: Sweep) -> None:
    content = json.loads(json.dumps(sweep.as_json(), allow_nan=False))
    assert len(content["points"]) == 7
    for point in content["points"]:
        assert point["n"] == 10
        assert point["low"] < point["value"] < point["high"]
        assert (point["protocol"], point["commit"], point["date"][:2]) == ("strict", "0123456789", "20")
    assert content["skipped"][0]["reason"] == LEFT.reason
    rows = list(csv.DictReader(io.StringIO(as_csv(sweep))))
    assert len(rows) == 8
    for row in rows[:7]:
        assert (row["n"], row["protocol"], row["commit"], row["failed"]) == ("10", "strict", "0123456789", "0")
        assert row["date"].startswith("20")
    assert rows[7]["not_run_because"].startswith("steps=3 is not divisible")
    text = markdown(sweep)
    for part in ("protocol strict", "commit 0123456789", "| 10 |", "31.3 to 83.2", "ar \\["):
        assert part in text
    assert re.search(r"\d{4}-\d\d-\d\d: 6 runs", text)


def test_settings_that_differ_from_the_tasks_own_are_told_once(tmp_path: Path) -> None:
    changed = {"temperature": 0.0, "steps": 8, "block_length": 16, "cache": "none"}
    given = [replace(sheet(5, 0.1, steps), changed=changed) for steps in (1, 2)]
    points = [
        run(tmp_path / str(number), replace(one, settings={**one.settings, "temperature": 0.5}))
        for number, one in enumerate(given)
    ]
    line = replace(sheet(5, 0.1, 9), changed={"gen_length": 8}, settings={"gen_length": 4})
    found = build_sweep([TASK], points, [], run(tmp_path / "ar", line, model="ar"))
    console = Console(record=True, width=200, file=io.StringIO())
    print_sweep(found, console)
    for text in (console.export_text(), markdown(found).replace("\\", "")):
        assert text.count("a: temperature 0.5 instead of 0.0\n") == 1
        assert text.count("baseline ar, a: gen_length 4 instead of 8\n") == 1
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [row["settings_changed"] for row in rows] == [
        *["temperature 0.5 instead of 0.0"] * 2, "gen_length 4 instead of 8"
    ]  # fmt: skip


def test_exact_and_approximate_never_share_a_column(sweep: Sweep) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(sweep))))[:7]
    for row in rows:
        kinds = [kind for kind in ("exact", "approximate") if row[f"{kind}_score"]]
        assert kinds == (["approximate"] if row["modes"] else ["exact"])
    tables = re.split("^## ", markdown(sweep), flags=re.MULTILINE)
    exact, approximate, left = tables[1:]
    assert exact.startswith("Exact decoding")
    assert "exact score" in exact
    assert "dual" not in exact
    assert exact.count("\n| a |") == 5  # the baseline's among them
    assert "approximate score" in approximate
    assert approximate.count("cache=dual:32") == approximate.count("\n| a |") == 2
    assert left.count("\n| a |") == 1


def test_hostile_names_and_reasons_stay_text(sweep: Sweep) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    print_sweep(sweep, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in shown
    assert "not run: a, steps=3 block_length=8 cache=dual:32: steps=3 is not divisible" in shown
    assert "8/8" in shown
    page = MarkdownIt("commonmark").enable("table").render(markdown(sweep))
    assert page.count("<table>") == 3
    assert not re.search("<(script|a |img|code)", page)
    assert "\x1b" not in as_csv(sweep)


def test_the_order_of_tasks_is_the_one_asked_for(tmp_path: Path) -> None:
    only_b = load_run(write_run(tmp_path / "b", {"b": sheet(5, 0.1, 1)}))
    both = run(tmp_path / "both", sheet(5, 0.1, 2), sheet(6, 0.1, 2))
    assert build_sweep(["lladav_a", "lladav_b"], [only_b, both], []).tasks == ["lladav_a", "lladav_b"]


def test_a_baseline_on_other_data_is_refused(tmp_path: Path, points: list[RunData]) -> None:
    good = sheet(7, 0.25, 5)
    cases = [
        (run(tmp_path / "x", good, protocol="official"), "follows the protocol official"),
        (load_run(write_run(tmp_path / "y", {"b": good})), "lacks the task a"),
        (run(tmp_path / "z", replace(good, targets={2: "C"})), "the target of 1 samples differs"),
        (run(tmp_path / "w", replace(good, values=[1.0] * 9)), "1 samples only in the candidate"),
    ]
    for baseline, expected in cases:
        with pytest.raises(UsageError, match=expected):
            build_sweep([TASK], points, [], baseline)


def test_a_figure_without_an_interval_is_shown_without(tmp_path: Path) -> None:
    found = run(tmp_path / "p", sheet(5, 0.2, 1))
    task = found.tasks[TASK]
    metric = replace(task.metrics["accuracy"], low=None, high=None)
    object.__setattr__(found, "tasks", {TASK: replace(task, metrics={"accuracy": metric})})
    sweep = build_sweep([TASK], [found], [])
    assert "| 50.0 | - | 1.0 | 0.2 | 5 | both |" in markdown(sweep)
    assert len(plot_sweep(sweep, tmp_path / "plots")) == 4


def test_a_baseline_that_tells_no_cost_is_a_line_alone(tmp_path: Path, points: list[RunData]) -> None:
    path = write_run(tmp_path / "endpoint", {"a": sheet(7, 0.0, 0)}, kind="unstated", model="endpoint")
    results = json.loads((path / "results.json").read_text())
    results["tasks"][TASK] |= {"forward_passes_per_sample": None, "seconds_per_sample": None}
    (path / "results.json").write_text(json.dumps(results))
    sweep = build_sweep([TASK], points, [], load_run(path))
    assert (sweep.baseline[0].forward_passes, sweep.baseline[0].samples_per_second) == (None, None)
    assert "| 70.0 | 39.7 to 89.2 | - | - | - |  |" in markdown(sweep)
    for picture in plot_sweep(sweep, tmp_path / "plots"):
        assert picture.suffix == ".png" or "baseline endpoint" in picture.read_text()


def test_flops_are_shown_where_known(tmp_path: Path) -> None:
    found = run(tmp_path / "p", replace(sheet(5, 0.1, 1), cost={"flops": 2.5e9}))
    sweep = build_sweep([TASK], [found], [])
    assert sweep.rows[0].flops == 2.5e9
    assert "| GFLOPs/sample |" in markdown(sweep)
    assert "| 2.5 |" in markdown(sweep)


def test_pictures_open_and_are_the_same_every_time(tmp_path: Path, sweep: Sweep) -> None:
    paths = plot_sweep(sweep, tmp_path / "one")
    assert [path.name for path in paths] == [
        "accuracy_against_seconds.png", "accuracy_against_seconds.svg",
        "accuracy_against_forward_passes.png", "accuracy_against_forward_passes.svg",
    ]  # fmt: skip
    for path, again in zip(paths, plot_sweep(sweep, tmp_path / "two"), strict=True):
        assert path.read_bytes() == again.read_bytes()
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert len(image.convert("L").getcolors(256) or []) > 5
            continue
        text = "".join(ElementTree.parse(path).getroot().itertext())
        for part in ("exact, filled", "approximate, filled", "baseline ar", "a (n = 10)", "strict", "8/8", "8/8 dual"):
            assert part in text, part
        assert "4/8" not in text  # beaten: drawn, but not named


def test_points_of_the_first_rows_say_of_how_many(tmp_path: Path) -> None:
    sheet = Sheet([1.0] * 6 + [0.0] * 4, rows=250)
    sweep = build_sweep([TASK], [load_run(write_run(tmp_path / "part", {"a": sheet}))], [])
    assert "| 10 of 250 | 0 | 60.0 |" in markdown(sweep)
    svg = next(path for path in plot_sweep(sweep, tmp_path / "plots") if path.suffix == ".svg")
    assert "a (n = 10 of 250)" in "".join(ElementTree.parse(svg).getroot().itertext())


def test_points_share_one_metric_even_where_some_wait_for_a_judge(tmp_path: Path) -> None:
    judged = Sheet([1.0] * 6 + [0.0] * 4, metric="official", more_metrics={"strict": [1.0] * 5 + [0.0] * 5})
    waiting = Sheet([1.0] * 4 + [0.0] * 6, metric="strict")
    points = [
        load_run(write_run(tmp_path / name, {"a": sheet}, protocol="official"))
        for name, sheet in (("judged", judged), ("waiting", waiting))
    ]
    sweep = build_sweep([TASK], points, [])
    assert [(row.metric, row.value) for row in sweep.rows] == [("strict", 50.0), ("strict", 40.0)]
    assert "a: shown is strict, as not every run has another figure" in markdown(sweep)
