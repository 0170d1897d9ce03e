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
from lladav_eval.reports.comparison_text import (
    COSTS,
    PAIRS,
    QUALITY,
    RATIOS,
    markdown,
    print_comparison,
    quality_columns,
    quality_rows,
)
from lladav_eval.reports.load import load_run
from lladav_eval.reports.plots import plot_comparison
from lladav_eval.reports.run_data import RunData

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
    assert (first.score, first.forward_passes, first.seconds, first.tokens_per_second) == (60, 8, 0.5, None)
    assert (second.score, second.forward_passes, second.seconds) == (80, 3, 0.25)
    assert (first.low, first.high) == pytest.approx((31.27, 83.18), abs=0.01)  # Wilson, 6 of 10
    (pair,) = result.pairs
    assert (pair.paired.wins, pair.paired.losses, pair.paired.ties) == (3, 1, 6)
    assert pair.difference == pytest.approx(20)
    assert pair.paired.p == pytest.approx(2 * 5 / 16)
    assert pair.smallest == pytest.approx(60)
    assert "a: steps is 2, 1" in result.notes


COST = {"prompt_tokens": 40.0, "output_tokens": 8.0, "flops": 2.5e9, "media_seconds": 0.125, "peak_memory": 3e8}


def test_cost_beside_quality_with_paired_ratios(tmp_path: Path) -> None:
    first = replace(FIRST, cost={**COST, "prefill_seconds": 0.1, "decode_seconds": 0.4})
    second = replace(SECOND, cost={**COST, "flops": 1e9})
    result = compare_runs(runs(tmp_path, {"a": first}, {"a": second}))
    assert [entry.samples_per_second for entry in result.entries] == [2, 4]
    assert result.entries[0].cost.mean("prompt_tokens") == 40
    (ratio,) = result.ratios
    assert (ratio.forward_passes, ratio.low, ratio.high) == (3 / 8, 3 / 8, 3 / 8)  # every sample took the same
    assert (ratio.seconds, ratio.flops) == (0.5, 0.4)
    text = markdown(result)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[2][-3:] == ["8.0", "2", "16"]  # eight answer tokens in half a second
    costs = rows[8:11]
    assert costs[1][2:] == ["40.0", "8.0", "2.5 G", "0.1", "0.4", "0.625", "300.0 MB"]
    assert costs[2][2:] == ["40.0", "8.0", "1 G", "-", "-", "0.375", "300.0 MB"]
    assert rows[-1][2:] == ["0.38", "0.38 to 0.38", "0.50", "0.40"]
    content = json.loads(json.dumps(result.as_json()))
    assert content["entries"][0]["cost"]["flops"]["mean"] == 2.5e9


def test_failed_samples_cost_nothing_and_distort_no_mean(tmp_path: Path) -> None:
    path = write_run(tmp_path / "f", {"a": replace(FIRST, statuses={9: "failed"}, cost=COST)}, model="other")
    samples = path / "samples.jsonl"
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    rows[9].update(forward_passes=0, seconds=0.0, cost=dict.fromkeys(COST))
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = compare_runs([load_run(path), *runs(tmp_path, {"a": FIRST})])
    entry = result.entries[0]
    assert (entry.n, entry.failed, entry.cost.answered) == (10, 1, 9)
    assert (entry.forward_passes, entry.seconds, entry.cost.mean("flops")) == (8, 0.5, 2.5e9)
    assert result.ratios[0].forward_passes == 1


def test_a_cost_known_of_some_samples_or_zero_has_no_ratio(tmp_path: Path) -> None:
    path = write_run(tmp_path / "some", {"a": replace(FIRST, cost={**COST, "prefill_seconds": 0.0})}, model="other")
    samples = path / "samples.jsonl"
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    rows[9]["cost"]["flops"] = None
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (whole,) = runs(tmp_path, {"a": replace(FIRST, cost=COST)})
    (nothing,) = runs(tmp_path / "zero", {"a": replace(FIRST, cost={**COST, "flops": 0.0})})
    some = load_run(path)
    for pair, flops in (((whole, whole), 1), ((whole, some), None), ((some, whole), None), ((nothing, whole), None)):
        assert compare_runs(pair).ratios[0].flops == flops


def test_models_that_dont_tell_get_dashes_and_no_ratio(tmp_path: Path) -> None:
    silent = replace(SECOND, forward_passes=0, seconds=0.0)
    result = compare_runs(runs(tmp_path, {"a": FIRST}, {"a": silent}))
    assert (result.entries[1].forward_passes, result.entries[1].samples_per_second) == (None, None)
    assert (result.ratios[0].forward_passes, result.ratios[0].seconds, result.ratios[0].flops) == (None, None, None)
    assert "| - | - | - |" in markdown(result)
    assert len(plot_comparison(result, tmp_path / "plots")) == 4


def test_no_rate_follows_from_an_endpoints_latencies(tmp_path: Path) -> None:
    path = write_run(tmp_path / "e", {"a": FIRST}, model="openai:m@http://h", kind="endpoint")
    for file in (path / "results.json", path / "manifest.json"):
        file.write_text(file.read_text().replace('"weights-1"', '"openai/m@http://h"'))
    entry = compare_runs([load_run(path), *runs(tmp_path, {"a": FIRST})]).entries[0]
    assert (entry.seconds, entry.samples_per_second, entry.tokens_per_second) == (0.5, None, None)


def test_runs_written_before_there_was_a_cost_are_compared() -> None:
    baselines = Path(__file__).resolve().parents[2] / "results" / "baselines"
    result = compare_runs([load_run(baselines / name) for name in ("pocket", "pocket-ar")])
    assert all(entry.forward_passes and entry.samples_per_second for entry in result.entries)
    digits = next(ratio for ratio in result.ratios if ratio.task == "lladav_pocket_digits")
    assert digits.low is not None
    assert digits.high is not None
    assert digits.low < (digits.forward_passes or 0) < digits.high < 1


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


def test_categories_that_no_task_has_are_no_empty_table(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_comparison(compare_runs(runs(tmp_path, {"a": FIRST}, {"a": SECOND})), console, True)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "task category" not in text
    assert text.splitlines()[-1] == "note: --categories: no task of these runs has categories"


def test_sums_are_told_beside_the_mean_of_the_samples(tmp_path: Path) -> None:
    both = runs(tmp_path, {"mme": FIRST}, {"mme": SECOND})
    for run, total in zip(both, (1998.0, 1900.5), strict=True):
        task = run.tasks["lladav_mme"]
        metric = replace(task.metrics["accuracy"], value=total, low=None, high=None, is_mean=False)
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


def test_what_is_refused(tmp_path: Path) -> None:
    (one,) = runs(tmp_path, {"a": FIRST})
    with pytest.raises(UsageError, match="two run directories"):
        compare_runs([one])
    cases = (
        ({"a": replace(FIRST, targets={3: "C"})}, "strict", "lladav_a 3: .* other right answers"),
        ({"a": replace(FIRST, version="2")}, "strict", "ran version 1.0 of the task, .* 2"),
        ({"b": FIRST}, "strict", "no sample in common"),
        ({"a": FIRST}, "official", "protocol official"),
        ({"a": replace(FIRST, metric="strict")}, "strict", "the headline metrics differ .* choose one with --metric"),
        ({"a": replace(FIRST, dataset_path="other")}, "strict", "the data set differs"),
    )
    for number, (sheets, protocol, expected) in enumerate(cases):
        other = load_run(write_run(tmp_path / f"o{number}", sheets, protocol=protocol))
        with pytest.raises(UsageError, match=expected):
            compare_runs([one, other])
    pinned = [runs(tmp_path / name, {"a": replace(FIRST, data_revision=name)})[0] for name in ("r1", "r2")]
    with pytest.raises(UsageError, match=r"a: the data differ: .* has r1, .* r2"):
        compare_runs(pinned)
    assert compare_runs([one, pinned[1]]).pairs, "what recorded no revision is compared"
    with pytest.raises(UsageError, match="has no metric 'f1'; choose one of accuracy"):
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
            assert "per answered sample" in text
            assert "a (n = 10)" in text
            assert "$x_{1}$" in text


def test_pictures_of_all_right_all_wrong_and_all_failed(tmp_path: Path) -> None:
    """At the ends of an interval there is nothing left of it; a run without an answer has no cost."""
    right, wrong = Sheet([1.0] * 20), Sheet([0.0] * 20)
    failed = Sheet([0.0] * 20, statuses=dict.fromkeys(range(20), "failed"))
    result = compare_runs(runs(tmp_path, {"a": right}, {"a": wrong}, {"a": failed}))
    svg = next(path for path in plot_comparison(result, tmp_path / "plots") if path.name.endswith("passes.svg"))
    text = "".join(ElementTree.parse(svg).getroot().itertext())
    for label in result.labels:
        assert text.count(label) == 2  # what must stand beside the numbers, and the legend
    assert "20 failed" in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    result = compare_runs(runs(tmp_path, {"a": FIRST}, {"a": SECOND}, model=HOSTILE))
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    print_comparison(result, console)
    assert "\x1b" not in console.file.getvalue()  # type: ignore[attr-defined]
    text = markdown(result)
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert page.count("<table>") == 4
    assert not re.search("<(script|a |h2|img|code)", page)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = [len(QUALITY) + 1] * 4 + [len(PAIRS) + 1] * 3 + [len(COSTS) + 1] * 4 + [len(RATIOS) + 1] * 3
    assert [line.replace("\\|", "").count("|") for line in rows] == widths


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


def test_other_questions_machines_and_metrics_are_told(tmp_path: Path) -> None:
    first = replace(FIRST, media={1: "a", 2: "a"})
    changed = replace(FIRST, prompts=dict.fromkeys(range(4), "in other words"), media={0: "b", 1: "a", 2: "b"})
    paths = [write_run(tmp_path / f"m{i}", {"a": sheet}, model=f"m{i}") for i, sheet in enumerate((first, changed))]
    manifest = paths[1] / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"device": "cpu"', '"device": "cuda:0"'))
    notes = compare_runs([load_run(path) for path in paths]).notes
    assert "a: m1 was asked 4 of 10 questions in other words" in notes
    assert "a: of m1, 1 samples show other pictures or videos (doc_id 2)" in notes
    assert "times were taken on other machines or settings: m0: cpu, float32; m1: cuda, float32" in notes
    fallen_back = [
        load_run(write_run(tmp_path / f"f{i}", {"a": replace(FIRST, metric="strict")}, protocol="official"))
        for i in range(2)
    ]
    assert "a: shown is strict, as there is no official figure" in compare_runs(fallen_back).notes


def test_seconds_of_an_endpoint_are_no_multiple_of_a_models(tmp_path: Path) -> None:
    both = runs(tmp_path, {"a": FIRST}, {"a": SECOND})
    endpoint = replace(both[1], fingerprint="openai/m@http://h")
    (ratio,) = compare_runs([both[0], endpoint]).ratios
    assert ratio.seconds is None
    assert ratio.forward_passes is not None
