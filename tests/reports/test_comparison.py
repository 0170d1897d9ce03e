"""Runs side by side: paired on common samples, cost beside quality, pictures that open."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from PIL import Image
from reports.synthetic import HOSTILE, Sheet, write_run
from rich.console import Console

from lladav_eval.cli import main
from lladav_eval.errors import UsageError
from lladav_eval.reports.comparison import compare_runs
from lladav_eval.reports.comparison_text import markdown, print_comparison, quality_columns, quality_rows
from lladav_eval.reports.load import RunData, load_run
from lladav_eval.reports.plots import plot_comparison

FIRST = Sheet([1.0] * 6 + [0.0] * 4, seconds=0.5, forward_passes=8)
SECOND = Sheet([1.0] * 5 + [0.0, 1.0, 1.0, 1.0, 0.0], seconds=0.25, forward_passes=3, settings={"steps": 1})


def runs(tmp_path: Path, *sheets: dict[str, Sheet], model: str = "model") -> list[RunData]:
    return [
        load_run(
            write_run(tmp_path / f"r{i}", sheet, model=f"{model} {i}", kind=("diffusion", "autoregressive")[i % 2])
        )
        for i, sheet in enumerate(sheets)
    ]


def test_quality_and_cost(tmp_path: Path) -> None:
    result = compare_runs(runs(tmp_path, {"a": FIRST}, {"a": SECOND}))
    first, second = result.entries
    assert (first.score, first.forward_passes, first.seconds, first.tokens_per_second) == (60, 8, 0.5, 4)
    assert (second.score, second.forward_passes, second.seconds, second.tokens_per_second) == (80, 3, 0.25, 8)
    assert first.low == pytest.approx(31.27, abs=0.01)  # Wilson, 6 of 10
    (pair,) = result.pairs
    assert (pair.paired.wins, pair.paired.losses, pair.paired.ties) == (3, 1, 6)
    assert pair.difference == pytest.approx(20)
    assert pair.paired.p == pytest.approx(2 * 5 / 16)
    assert pair.smallest == pytest.approx(60)
    assert "a: steps is 2, 1" in result.notes


def test_holm_over_all_pairs(tmp_path: Path) -> None:
    sheets = [{"a": Sheet([1.0] * 10)}, {"a": Sheet([0.0] * 10)}, {"a": Sheet([1.0] * 4 + [0.0] * 6)}]
    result = compare_runs(runs(tmp_path, *sheets))
    assert [pair.p_corrected for pair in result.pairs] == pytest.approx([2 * 2 / 1024, 2 / 64])


def test_other_sample_sets_are_joined_and_told(tmp_path: Path) -> None:
    more = replace(SECOND, doc_ids=list(range(4, 14)), prompts={i: f"question {i + 4}" for i in range(10)})
    result = compare_runs(runs(tmp_path, {"a": FIRST, "c": FIRST}, {"a": more}))
    assert {entry.n for entry in result.entries} == {6}
    assert result.tasks == ["lladav_a"]
    assert "a: model 0 has 10 samples, of which 6 are in all runs" in result.notes
    assert "c of model 0 is left out: not all runs have its samples" in result.notes


def test_scores_by_category(tmp_path: Path) -> None:
    kinds = ["x"] * 4 + ["y"] * 6
    result = compare_runs(runs(tmp_path, {"a": FIRST}, {"a": replace(SECOND, categories=kinds)}))
    assert [(entry.category, entry.run, entry.n, round(entry.score)) for entry in result.categories] == [
        ("x", 0, 4, 100), ("x", 1, 4, 100), ("y", 0, 6, 33), ("y", 1, 6, 67),
    ]  # fmt: skip
    assert result.categories[3].low == pytest.approx(30.0, abs=0.1)  # Wilson, 4 of 6
    assert len(result.pairs) == 1  # no test is made of a category
    assert "<summary>Scores by category</summary>" in markdown(result)
    assert result.as_json()["categories"][3]["category"] == "y"
    for asked in (False, True):
        console = Console(file=io.StringIO(), width=200)
        print_comparison(result, console, asked)
        assert ("category" in console.file.getvalue()) is asked  # type: ignore[attr-defined]


def test_sums_are_told_beside_the_mean_of_the_samples(tmp_path: Path) -> None:
    both = runs(tmp_path, {"mme": FIRST}, {"mme": SECOND})
    for run, total in zip(both, (1998.0, 1900.5), strict=True):
        task = run.tasks["lladav_mme"]
        metric = replace(task.metrics["accuracy"], value=total, low=None, high=None)
        object.__setattr__(run, "tasks", {"lladav_mme": replace(task, metrics={"accuracy": metric})})
    assert any("accuracy as reported is 1998.00, 1900.50" in note for note in compare_runs(both).notes)


def test_approximate_scores_have_a_column_of_their_own(tmp_path: Path) -> None:
    fast = replace(SECOND, settings={"steps": 1, "cache": "dual:32"})
    result = compare_runs(runs(tmp_path, {"a": FIRST}, {"a": fast}))
    columns = quality_columns(result)
    exact, approximate = (dict(zip(columns, row, strict=True)) for row in quality_rows(result))
    assert (exact["score"], exact["approximate score"]) == ("60.0", "-")
    assert (approximate["score"], approximate["approximate score"]) == ("-", "80.0")
    assert "approximate decoding \\(cache=dual:32\\)" in markdown(result)
    assert result.as_json()["runs"][1]["approximate"] == "cache=dual:32"
    assert "approximate score" not in quality_columns(compare_runs(list(result.runs[:1]) * 2))


def test_flops_and_memory_are_compared_where_known(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / f"r{i}", {"a": sheet}, model=f"m{i}") for i, sheet in enumerate((FIRST, SECOND))]
    assert "GFLOPs/sample" not in quality_columns(compare_runs([load_run(path) for path in paths]))
    lines = [json.loads(line) for line in (paths[1] / "samples.jsonl").read_text().splitlines()]
    more = [{**line, "flops": 3e9, "peak_memory": 10**9 + n} for n, line in enumerate(lines)]
    (paths[1] / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in more))
    result = compare_runs([load_run(path) for path in paths])
    assert (result.entries[1].flops, result.entries[1].peak_memory) == (3e9, 10**9 + 9)
    assert quality_columns(result)[-2:] == ("GFLOPs/sample", "peak GB")
    assert [row[-2:] for row in quality_rows(result)] == [("-", "-"), ("3", "1")]


def test_what_is_refused(tmp_path: Path) -> None:
    (one,) = runs(tmp_path, {"a": FIRST})
    with pytest.raises(UsageError, match="two run directories"):
        compare_runs([one])
    cases = (
        ({"a": replace(FIRST, targets={3: "C"})}, "strict", "lladav_a 3: .* other right answers"),
        ({"a": replace(FIRST, version="2")}, "strict", "ran version 1.0 of the task, .* 2"),
        ({"b": FIRST}, "strict", "no sample in common"),
        ({"a": FIRST}, "official", "protocol official"),
    )
    for number, (sheets, protocol, expected) in enumerate(cases):
        other = load_run(write_run(tmp_path / f"o{number}", sheets, protocol=protocol))
        with pytest.raises(UsageError, match=expected):
            compare_runs([one, other])
    with pytest.raises(UsageError, match="no value of its own for f1"):
        compare_runs([one, one], metric="f1")


def test_runs_of_one_model_get_distinct_names(tmp_path: Path) -> None:
    both = [load_run(write_run(tmp_path / name, {"a": FIRST})) for name in ("x", "y")]
    assert compare_runs(both).labels == ("toy (x)", "toy (y)")
    assert compare_runs([both[0], both[0]]).labels == ("toy (x) #1", "toy (x) #2")


def test_pictures_open_and_are_the_same_every_time(tmp_path: Path) -> None:
    sheets = [{"a": FIRST, "b": SECOND}, {"a": SECOND, "b": FIRST}]
    result = compare_runs(runs(tmp_path, *sheets, model="$x_{1}$ " + HOSTILE))
    paths = plot_comparison(result, tmp_path / "one")
    assert [path.name for path in paths] == [
        "score_against_seconds.png", "score_against_seconds.svg",
        "score_against_forward_passes.png", "score_against_forward_passes.svg",
    ]  # fmt: skip
    for path, again in zip(paths, plot_comparison(result, tmp_path / "two"), strict=True):
        assert path.read_bytes() == again.read_bytes()
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert len(image.convert("L").getcolors(256) or []) > 5
        else:
            text = "".join(ElementTree.parse(path).getroot().itertext())
            assert "per sample" in text
            assert "a (n = 10)" in text
            assert "$x_{1}$" in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    result = compare_runs(runs(tmp_path, {"a": FIRST}, {"a": SECOND}, model=HOSTILE))
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    print_comparison(result, console)
    assert "\x1b" not in console.file.getvalue()  # type: ignore[attr-defined]
    text = markdown(result)
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert page.count("<table>") == 2
    assert not re.search("<(script|a |h2|img|code)", page)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {10}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(tmp_path, {"a": FIRST}, {"a": SECOND})
    folders = [str(tmp_path / "r0"), str(tmp_path / "r1")]
    assert main.invoke(["compare", *folders, "--json", "--out", str(tmp_path / "out")]) == 0
    content = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [run["label"] for run in content["runs"]] == ["model 0", "model 1"]
    assert all(Path(path).is_file() for path in content["files"])
    assert len(content["files"]) == 5
    assert main.invoke(["compare", *folders]) == 0
    out = capsys.readouterr().out
    for part in ("protocol strict", "commit 0123456789", "+20.0", "McNemar"):
        assert part in out
    assert main.invoke(["compare", folders[0]]) == 2
