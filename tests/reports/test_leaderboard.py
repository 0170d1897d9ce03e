"""The leaderboard: runs beside published scores, everything told, nothing merged; and the committed one is fresh."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from reports.synthetic import HOSTILE, Sheet, write_run

from lladav_eval.cli import main
from lladav_eval.errors import UsageError
from lladav_eval.reports.leaderboard import MEMBERS, Cell, Entry, Leaderboard, build
from lladav_eval.reports.leaderboard_formats import FORMATS, as_card, as_csv, as_html, as_json, as_latex, as_markdown
from lladav_eval.reports.load import load_run
from lladav_eval.reports.reference import load_references

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "results" / "leaderboard.md"
VALUES = [1.0] * 60 + [0.0] * 40


def entry(board: Leaderboard, **wanted: object) -> Entry:
    (found,) = [item for item in board.entries if all(getattr(item, name) == value for name, value in wanted.items())]
    return found


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    other = {"exact": VALUES}  # of which nobody published a number
    sheets = {"mmmu": Sheet(VALUES, more_metrics=other), "own_task": Sheet(VALUES, statuses={99: "failed"})}
    return build([load_run(write_run(tmp_path / "mine", sheets, model="my model"))], load_references())


def test_the_committed_leaderboard_is_fresh() -> None:
    """Stale? `make leaderboard` writes it again."""
    baselines = sorted(path.parent for path in (ROOT / "results" / "baselines").glob("*/manifest.json"))
    fresh = as_markdown(build([load_run(path) for path in baselines], load_references()))
    assert COMMITTED.read_text(encoding="utf-8") == fresh, "results/leaderboard.md is stale: make leaderboard"


def test_a_run_stands_beside_the_paper(board: Leaderboard) -> None:
    mine = entry(board, model="my model")
    cell = mine.cells["mmmu"]
    assert (cell.value, cell.n, cell.delta, cell.best) == (60.0, 100, pytest.approx(60.0 - 48.6), False)
    assert cell.low is not None
    assert cell.low < 60 < (cell.high or 0)
    assert (mine.protocol, mine.commit, mine.ours) == ("strict", "0123456789", True)
    assert mine.cells["own_task"].delta is None
    assert set(mine.cells) == {"mmmu", "own_task"}
    kinds = [item.kind for item in board.entries]
    assert kinds == sorted(kinds, key=["autoregressive", "diffusion", "hybrid"].index)
    diffusion = [item.model for item in board.entries if item.kind == "diffusion"]
    assert diffusion[:2] == ["my model", "LLaDA-V"]


def test_the_best_of_a_column_is_marked_once(board: Leaderboard) -> None:
    for columns in board.sections.values():
        for column in columns:
            for strict in (False, True):  # our own rule competes with nobody else's
                entries = [item for item in board.entries if (item.protocol == "strict") == strict]
                cells = [item.cells[column] for item in entries if column in item.cells]
                known = [cell for cell in cells if cell.value is not None]
                best = max((cell.value or 0 for cell in known), default=0)
                assert all(cell.best == (cell.value == best and len(known) > 1) for cell in known), column


def test_the_same_model_by_other_sources_is_another_line(board: Leaderboard) -> None:
    values = {(item.protocol, item.source): item.cells["mathvista"].printed for item in board.entries
              if item.model == "LLaDA-V" and "mathvista" in item.cells}  # fmt: skip
    assert len(values) == 6
    assert set(values.values()) == {"50.6", "52.4", "59.2", "59.7"}
    (fast,) = [item for item in board.entries if "mathvista (approximate)" in item.cells]
    assert fast.cells["mathvista (approximate)"].printed == "55.10"
    listed = entry(board, model="LLaDA-V", source="wizwand.com/paper/68fa79101e209131cea7bebe")
    assert (listed.cells["mme"].value, listed.cells["mme"].delta) == (2000, 2.0)
    assert listed.cells["pope"] == Cell(None, "", "accuracy", note="listed without a value")


def test_both_protocols_of_a_run_are_two_lines(tmp_path: Path) -> None:
    sheet = Sheet(VALUES, metric="official", more_metrics={"strict": [0.0] * 50 + [1.0] * 50})
    board = build([load_run(write_run(tmp_path / "r", {"mmmu": sheet}))], [])
    assert {item.protocol: item.cells["mmmu"].value for item in board.entries} == {"official": 60.0, "strict": 50.0}


def test_a_task_of_another_rule_never_stands_in_our_column(tmp_path: Path) -> None:
    sheets = {
        "own:chartqa": Sheet(VALUES, metric="relaxed_overall"),
        "own:mme": Sheet([2.0] * 4, metric="total", scale="points", more_metrics={"perception": [1.0] * 4}),
        **{f"own:mathverse_{name}": Sheet(VALUES) for name in "abc"},
        "own:made_up": Sheet(VALUES, metric="strict", more_metrics={"official": VALUES}),
        "chartqa": Sheet([1.0] * 100, metric="strict"),
    }
    run = load_run(write_run(tmp_path / "r", sheets))
    board = build([run], load_references())
    assert entry(board, source="run r", protocol="strict").cells.keys() == {"chartqa"}
    own = entry(board, source="run r", protocol="the task's own")
    assert own.cells.keys() == {f"{name[4:]} (own rule)" for name in sheets if name.startswith("own:")}
    assert own.cells["chartqa (own rule)"].value == 60.0
    assert not any(cell.delta or cell.best for cell in own.cells.values())
    assert "chartqa (own rule)" in board.sections["Other benchmarks"]
    told = {
        (row["column"], row["protocol"]) for row in json.loads(as_json(board))["scores"] if row["source"] == "run r"
    }
    assert {("chartqa", "strict"), ("chartqa (own rule)", "the task's own")} <= told
    card = as_card([run])
    assert {"chartqa (own rule) relaxed_overall", "chartqa strict"} <= set(re.findall("name: (.*)", card))
    assert "protocol: the task's own" in card


def test_parts_of_mme_find_their_columns(tmp_path: Path) -> None:
    parts = {"perception": [7.0, 7.0], "cognition": [3.0, 3.0]}
    sheet = Sheet([10.0, 10.0], metric="total", scale="points", more_metrics=parts)
    board = build([load_run(write_run(tmp_path / "r", {"mme": sheet}))], load_references())
    mine = entry(board, model="toy")
    assert {name: cell.value for name, cell in mine.cells.items()} == {
        "mme": 10, "mme perception": 7, "mme cognition": 3,
    }  # fmt: skip
    assert mine.cells["mme"].delta == 10 - 1998


def test_a_figure_of_some_samples_says_so_and_competes_with_none(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {"mmmu": Sheet(VALUES)})
    results = json.loads((run / "results.json").read_text())
    results["tasks"]["lladav_mmmu"]["metrics"]["accuracy"]["n"] = 40
    (run / "results.json").write_text(json.dumps(results))
    board = build([load_run(run)], load_references())
    cell = entry(board, model="toy").cells["mmmu"]
    assert (cell.n, cell.delta, cell.best) == (40, None, False)
    assert "of 40 of the 100 samples, those that the task gives it to" in as_markdown(board)


def test_every_number_is_in_every_format(board: Leaderboard) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(board))))
    scores = json.loads(as_json(board))["scores"]
    numbers = sum(len(item.cells) for item in board.entries)
    assert len(rows) == len(scores) == numbers
    (mine,) = [row for row in rows if row["column"] == "mmmu" and row["confidence"] == "ours"]
    assert (mine["n"], mine["protocol"], mine["commit"], mine["best"]) == ("100", "strict", "0123456789", "False")
    assert mine["date"].startswith("20")
    for text in (as_markdown(board), as_latex(board), as_html(board)):
        for part in ("60.0", "n = 100", "+11.4 to paper", "55.10", "0123456789", "1 of 100 samples failed"):
            assert part in text
        assert "listed without a value" in text


def test_latex_is_booktabs(board: Leaderboard) -> None:
    text = as_latex(board)
    assert text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == len(board.sections)
    assert text.count("\\begin{") == text.count("\\end{")
    assert text.count("{!}{\\begin{tabular}") == text.count("\\end{tabular}}") == len(board.sections)  # fits a page
    for table in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        lines = [line for line in table.splitlines() if line.endswith("\\\\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    sheets = {"a": Sheet(VALUES)}
    board = build([load_run(write_run(tmp_path / "r", sheets, model=HOSTILE, kind="hybrid"))], load_references())
    page = as_html(board)
    assert "<script" not in page
    assert page.count("<table") == len(board.sections)
    markdown = as_markdown(board)
    shown = MarkdownIt("commonmark").enable("table").render(markdown)
    assert shown.count("<table>") == len(board.sections)
    assert not re.search("<(script|a |img|code)", shown)
    assert shown.count("<h1>") == 1
    assert "\\input{" not in as_latex(board)
    (row,) = [row for row in csv.DictReader(io.StringIO(as_csv(board))) if row["confidence"] == "ours"]
    assert "\x1b" not in row["model"]
    (again,) = [r for r in csv.DictReader(io.StringIO(as_csv(build(
        [load_run(write_run(tmp_path / "s", sheets, model="=1+1"))], [])))) if r["confidence"] == "ours"]  # fmt: skip
    assert again["model"] == "'=1+1"
    for text in (markdown, page, as_latex(board), as_csv(board), as_json(board)):
        assert "\x1b" not in text
        assert "\x00" not in text


def test_the_card_is_what_the_hub_reads(tmp_path: Path) -> None:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    sheets = {"a": Sheet(VALUES, data_revision="abc"), "b": Sheet([0.5, 0.25], metric="anls")}
    text = as_card([load_run(write_run(tmp_path / "r", sheets, model=HOSTILE))])
    name, results = model_index_to_eval_results(yaml.safe_load(text)["model-index"])
    assert name == HOSTILE
    assert {result.dataset_name: (result.metric_type, result.metric_value) for result in results} == {
        "a": ("accuracy", 60.0), "b": ("anls", 37.5),
    }  # fmt: skip
    (first, _) = results
    assert first.dataset_revision == "abc"
    assert first.metric_args["n"] == 100
    assert first.metric_args["protocol"] == "strict"
    assert set(first.metric_args) == {
        "n", "rows", "failed", "interval_95", "protocol", "commit", "date", "settings"
    }  # fmt: skip
    assert first.metric_args["settings"] == {"gen_length": 2, "steps": 2}


def test_the_card_is_front_matter_of_a_model_card(tmp_path: Path) -> None:
    """Pasted between the dashes of a README, it is read by the hub's own classes, and written back the same."""
    from huggingface_hub import ModelCard

    fast = {"gen_length": 2, "steps": 2, "cache": "dual:32"}
    sheets = {"a": Sheet(VALUES, data_revision="abc"), "b": Sheet(VALUES, settings=fast)}
    text = as_card([load_run(write_run(tmp_path / "r", sheets, model="org/name"))])
    card = ModelCard(f"---\nlicense: apache-2.0\n{text}---\n# Model\n", ignore_metadata_errors=False)
    assert card.data.model_name == "org/name"
    first, second = card.data.eval_results
    assert (first.task_type, first.dataset_type, first.dataset_revision) == ("image-text-to-text", "parquet", "abc")
    assert first.metric_args["interval_95"] == [pytest.approx(50.2, abs=0.1), pytest.approx(69.06, abs=0.1)]
    assert second.metric_name == "b accuracy (approximate decoding)"
    again = ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_approximate_decoding_has_columns_of_its_own(tmp_path: Path) -> None:
    fast = {"gen_length": 2, "steps": 2, "cache": "dual:32"}
    runs = [
        load_run(write_run(tmp_path / "exact", {"mmmu": Sheet([0.0, 1.0])})),
        load_run(write_run(tmp_path / "fast", {"mmmu": Sheet([1.0, 1.0], settings=fast)})),
    ]
    board = build(runs, load_references())
    exact, approximate = (item for item in board.entries if item.ours)
    assert any("Fast-dLLM with refresh 32" in cell.note for item in board.entries for cell in item.cells.values())
    assert list(exact.cells) == ["mmmu"]
    assert list(approximate.cells) == ["mmmu (approximate)"]
    cell = approximate.cells["mmmu (approximate)"]
    assert (cell.best, cell.delta) == (False, pytest.approx(100 - 48.6))  # alone in its column
    assert "approximate decoding (cache=dual:32)" in cell.note
    assert board.sections["Approximate decoding"] == (
        "mathverse (approximate)", "mathvision (approximate)", "mathvista (approximate)", "mmmu (approximate)",
    )  # fmt: skip
    text = as_markdown(board)
    assert "## Approximate decoding" in text


def test_a_partial_run_is_told_and_takes_no_mark(tmp_path: Path) -> None:
    part = load_run(write_run(tmp_path / "part", {"mmmu": Sheet([1.0] * 3, rows=900)}))
    board = build([part, load_run(write_run(tmp_path / "whole", {"mmmu": Sheet(VALUES)}))], load_references())
    partial, whole = (item.cells["mmmu"] for item in board.entries if item.ours)
    assert (partial.value, partial.partial, partial.best, partial.delta) == (100.0, True, False, None)
    assert (whole.value, whole.partial, whole.best, whole.delta) == (60.0, False, False, pytest.approx(60.0 - 48.6))
    for text in (as_markdown(board), as_latex(board), as_html(board)):
        assert "n = 3 of 900, partial" in text
        assert "n = 3 of 900, partial;" not in text  # where others have their difference to the paper
        assert "partial: the first 3 of 900 rows" in text
        assert "n = 100; +11.4 to paper" in text
    rows = [row for row in csv.DictReader(io.StringIO(as_csv(board))) if row["confidence"] == "ours"]
    assert [(row["n"], row["rows"], row["partial"], row["best"], row["delta_to_paper"]) for row in rows] == [
        ("3", "900", "True", "False", ""), ("100", "100", "False", "False", "11.4"),
    ]  # fmt: skip
    scores = json.loads(as_json(board))["scores"]
    assert [score["note"] for score in scores if score["partial"]] == ["partial: the first 3 of 900 rows"]
    (result,) = yaml.safe_load(as_card([part]))["model-index"][0]["results"]
    (metric,) = result["metrics"]
    assert metric["name"] == "mmmu accuracy (partial: the first 3 of 900 rows)"
    assert (metric["args"]["n"], metric["args"]["rows"]) == (3, 900)


def test_one_whole_number_is_no_best_beside_partial_ones(tmp_path: Path) -> None:
    runs = [
        load_run(write_run(tmp_path / name, {"mine": Sheet(VALUES, rows=rows)}))
        for name, rows in (("part", 101), ("whole", 100))
    ]
    board = build(runs, [])
    assert [(item.cells["mine"].partial, item.cells["mine"].best) for item in board.entries] == [
        (True, False), (False, False),
    ]  # fmt: skip


def test_a_run_that_does_not_tell_its_rows_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {"mmmu": Sheet(VALUES)})
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["tasks"]["lladav_mmmu"]["rows"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"manifest.json: tasks.lladav_mmmu.rows is missing"):
        build([load_run(run)], [])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "mine", {"a": Sheet(VALUES)})
    other = write_run(tmp_path / "other", {"a": Sheet(VALUES)}, model="other")
    for name in FORMATS:
        assert main.invoke(["leaderboard", str(run), "--format", name]) == 0
        assert "59.7" in capsys.readouterr().out
    assert main.invoke(["leaderboard", str(run), "--format", "card", "--out", str(tmp_path / "x" / "card.yaml")]) == 0
    assert capsys.readouterr() == ("", f"written: {tmp_path / 'x' / 'card.yaml'}\n")
    assert "model-index" in (tmp_path / "x" / "card.yaml").read_text()
    assert main.invoke(["leaderboard", str(run), str(other), "--format", "card"]) == 2
    assert main.invoke(["leaderboard", "--format", "card"]) == 2
    assert main.invoke(["leaderboard", str(tmp_path)]) == 2
    assert "manifest.json" in capsys.readouterr().err


def official(tmp_path: Path, sheets: dict[str, Sheet]) -> Entry:
    run = load_run(write_run(tmp_path / "run", sheets, model="mine", protocol="official"))
    return entry(build([run], load_references()), model="mine")


def test_changed_settings_are_told_and_take_no_mark(tmp_path: Path) -> None:
    sheet = Sheet([1.0] * 100, metric="official", changed={"steps": 32}, settings={"gen_length": 64, "steps": 1})
    cell = official(tmp_path, {"mathvista": sheet}).cells["mathvista"]
    assert (cell.value, cell.best, cell.delta, cell.note) == (100.0, False, None, "steps 1 instead of 32")
    (metric,) = yaml.safe_load(as_card([load_run(tmp_path / "run")]))["model-index"][0]["results"][0]["metrics"]
    assert metric["name"] == "mathvista official (steps 1)"


def test_other_figures_find_their_columns(tmp_path: Path) -> None:
    """Published numbers of POPE are accuracies, ours is F1; MME's parts have columns; the authors' ANLS is another."""
    sheets = {
        "pope": Sheet([1.0] * 4, metric="official", figures={"official": {"f1_mean": 100.0, "accuracy": 75.0}}),
        "mme": Sheet(
            [9.0], metric="official", scale="points", figures={"official": {"perception": 7.0, "cognition": 2.0}}
        ),
        "docvqa": Sheet([1.0] * 4, metric="official", figures={"official": {"anls": 100.0, "anls_authors": 90.0}}),
        "infovqa": Sheet([1.0] * 4, metric="official", figures={"official": {"anls": 100.0, "anls_authors": 80.0}}),
    }
    cells = official(tmp_path, sheets).cells
    assert {name: cell.value for name, cell in cells.items()} == {
        "pope f1": 100.0, "pope": 75.0, "mme": 9.0, "mme perception": 7.0, "mme cognition": 2.0, "docvqa": 100.0,
        "infovqa": 100.0,
    }  # fmt: skip
    assert cells["infovqa"].delta == pytest.approx(80.0 - 66.3)
    assert cells["docvqa"].delta == pytest.approx(90.0 - 83.9)
    assert cells["docvqa"].note == "to paper by anls_authors, 90.0"


def test_a_benchmark_of_several_tasks_has_one_number(tmp_path: Path) -> None:
    names = ("only", "dominant", "intensive")
    sheets = {f"mathverse_vision_{name}": Sheet([1.0] * (n + 1) + [0.0] * (3 - n), metric="official")
              for n, name in enumerate(names)}  # fmt: skip
    cell = official(tmp_path, sheets).cells["mathverse"]
    assert (cell.value, cell.n, cell.note) == (50.0, 12, "mean of 3 tasks")
    assert cell.delta == pytest.approx(50 - 28.5)
    part = {name: replace(sheet, rows=5 if name.endswith("only") else None) for name, sheet in sheets.items()}
    cell = official(tmp_path / "part", part).cells["mathverse"]
    assert (cell.n, cell.rows, cell.partial, cell.best, cell.delta) == (12, 13, True, False, None)
    del sheets["mathverse_vision_only"]
    assert "mathverse" not in official(tmp_path / "two", sheets).cells


def test_such_benchmarks_have_as_many_tasks_as_their_folders() -> None:
    for name, count in MEMBERS.items():
        assert len(list((ROOT / "tasks" / name).glob(f"lladav_{name}_*.yaml"))) == count
