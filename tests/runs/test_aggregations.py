"""Aggregations as lmms-eval's own tasks have them: with its command's arguments, files, prints, tables that count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy

from lladav_eval.errors import TaskError, UsageError
from lladav_eval.records import RunSpec
from lladav_eval.reports.load import load_run
from lladav_eval.reports.table import markdown_table, notes
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory

SPEC = RunSpec(tasks=("lladav_toy_a",), model="openai:../names/of@http://a.b/c?key=1", max_failures="100%")
FUNCTIONS = """
import json, os, sys

COUNTED = {"right": 0}

def path_of(args, name):
    folder = os.path.join(args.output_path, "submissions")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, name)

def counted(items, args):
    print("== details ==")
    print("noise", file=sys.stderr)
    for item in items:
        COUNTED["right"] += item
    with open(path_of(args, "answers.json"), "w") as file:
        json.dump([len(items), args.model, args.limit, args.tasks], file)
    return COUNTED["right"] / 10

def hand_in(items, args):
    with open(path_of(args, f"{args.model}.json"), "w") as file:
        json.dump(items, file)

def by_default(items, args=None):
    os.makedirs(os.path.join(args.output_path, "empty", "folders"))
    return sum(items) / len(items)

def asks_more(items, args):
    return args.wandb_args

def process_results(doc, results):
    right = int(results[0] == doc["answer"])
    return {name: {"right": right} if name == "of_ten" else right for name in METRICS}

def stamped(items, args):
    path = path_of(args, f"{len(os.listdir(os.path.dirname(path_of(args, 'x'))))}-{len(items)}.txt")
    assert not os.path.exists(path)
    open(path, "w").close()
    return sum(items) / len(items)

def by_kind(items):
    return {"all": sum(items)}

def of_ten(items):
    print(len(items))
    return 10 * sum(item["right"] for item in items) / len(items)

def numpy_mean(items):
    import numpy
    return numpy.float32(sum(items) / len(items))
"""


@pytest.fixture
def tasks(tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with (tasks / "toy_functions.py").open("a") as functions:
        functions.write(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    return tasks


def aggregated(tasks: Path, *names: str) -> None:
    """Gives the task a metric for each of these functions, with its name."""
    path = tasks / "lladav_toy_a.yaml"
    text = path.read_text()
    metric = text[text.index("  - metric: accuracy") : text.index("metadata:")]
    each = [metric.replace("accuracy", name).replace("toy_functions.mean", f"toy_functions.{name}") for name in names]
    path.write_text(text.replace(metric, "".join(each)))
    with (tasks / "toy_functions.py").open("a") as functions:
        functions.write(f"METRICS = {names!r}\n")


def run(path: Path, spec: RunSpec = SPEC, **model: Any) -> dict[str, Any]:
    return execute(spec, lambda: toy.ToyModel(**model), RunDirectory(path)).results


def test_files_and_prints_land_in_the_run_directory(
    tmp_path: Path, tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    aggregated(tasks, "counted")
    capfd.readouterr()
    results = run(tmp_path / "run", replace(SPEC, limit=5))
    assert not any(word in part for part in capfd.readouterr() for word in ("details", "noise"))
    task = results["tasks"]["lladav_toy_a"]
    folder = "task_files/lladav_toy_a"
    assert task["files"] == [f"{folder}/printed.txt", f"{folder}/submissions/answers.json"]
    assert task["metrics"]["counted"]["value"] == 40.0
    assert json.loads((tmp_path / "run" / task["files"][1]).read_text()) == [5, "of", 5, "lladav_toy_a"]
    assert (tmp_path / "run" / task["files"][0]).read_text() == "== details ==\n"
    (note,) = notes(results)
    assert note == f"toy_a: the task's own scoring wrote {', '.join(task['files'])}, inside the run directory"
    assert {path.name for path in tmp_path.iterdir()} == {"tasks", "run"}


@pytest.mark.parametrize("fail", [frozenset(), frozenset({0, 1})])
def test_what_an_aggregation_counts_in_its_module_counts_once(
    tmp_path: Path, tasks: Path, fail: frozenset[int]
) -> None:
    """lmms-eval's OCRBench adds to a table of its module; with failed samples, an aggregation is asked again."""
    aggregated(tasks, "counted")
    for _ in range(2):
        task = run(tmp_path / "run", fail=fail)["tasks"]["lladav_toy_a"]
        assert task["metrics"]["counted"]["value"] == 80.0 - 10 * len(fail)
        assert json.loads((tmp_path / "run" / task["files"][1]).read_text())[0] == 10


def test_a_metric_without_a_figure_leaves_its_file(tmp_path: Path, tasks: Path) -> None:
    aggregated(tasks, "hand_in", "mean")
    results = run(tmp_path / "run", fail=frozenset({3}))
    task = results["tasks"]["lladav_toy_a"]
    assert (list(task["metrics"]), task["headline"], task["without_figure"]) == (["mean"], "mean", ["hand_in"])
    (file,) = task["files"]
    assert json.loads((tmp_path / "run" / file).read_text()) == [1, 1, 1, 0, 0, 1, 1, 1, 1, 0]
    assert "toy_a: the task's own scoring gives no figure of hand_in" in notes(results)
    assert load_run(tmp_path / "run").tasks["lladav_toy_a"].headline == "mean"


def test_a_task_that_only_hands_in_is_run_and_left_out_of_reports(tmp_path: Path, tasks: Path) -> None:
    aggregated(tasks, "hand_in")
    results = run(tmp_path / "alone")
    assert (results["tasks"]["lladav_toy_a"]["headline"], results["tasks"]["lladav_toy_a"]["metrics"]) == ("", {})
    assert r"| toy\_a | 10 | 0 | 0 | 0 | - | - |" in markdown_table(results)
    with pytest.raises(UsageError, match=r"has no figure to report: its tasks give none, only files to hand in$"):
        load_run(tmp_path / "alone")
    both = run(tmp_path / "both", replace(SPEC, tasks=("lladav_toy_a", "lladav_toy_b")))
    assert "accuracy" in markdown_table(both)
    loaded = load_run(tmp_path / "both")
    assert (list(loaded.tasks), len(loaded.samples)) == (["lladav_toy_b"], 10)


def test_files_of_earlier_calls_and_scorings_are_gone(tmp_path: Path, tasks: Path) -> None:
    """lmms-eval's OK-VQA puts the time into the name of its file; HallusionBench reads its file again."""
    aggregated(tasks, "stamped")
    for _ in range(2):
        task = run(tmp_path / "run", fail=frozenset({0}))["tasks"]["lladav_toy_a"]
        assert [Path(file).name for file in task["files"]] == ["0-10.txt"]


def test_several_figures_at_once_are_none(tmp_path: Path, tasks: Path) -> None:
    aggregated(tasks, "by_kind", "mean")
    task = run(tmp_path / "run")["tasks"]["lladav_toy_a"]
    assert (list(task["metrics"]), task["without_figure"]) == (["mean"], ["by_kind"])


def test_arguments_with_a_default_are_given_too_and_empty_folders_go(tmp_path: Path, tasks: Path) -> None:
    aggregated(tasks, "by_default")
    task = run(tmp_path / "run")["tasks"]["lladav_toy_a"]
    assert (task["metrics"]["by_default"]["value"], task["files"]) == (80.0, [])
    assert not (tmp_path / "run" / "task_files").exists()


def test_other_arguments_of_the_command_are_one_line(tmp_path: Path, tasks: Path) -> None:
    aggregated(tasks, "asks_more")
    with pytest.raises(TaskError, match=r"failed: AttributeError: this run has no `args.wandb_args` of lmms-eval's"):
        run(tmp_path / "run")


def test_numbers_of_numpy_are_numbers(tmp_path: Path, tasks: Path) -> None:
    aggregated(tasks, "numpy_mean")
    assert run(tmp_path / "run")["tasks"]["lladav_toy_a"]["metrics"]["numpy_mean"]["value"] == 80.0


WRONG = dict.fromkeys(range(10), "grey")


@pytest.mark.parametrize(("right", "figure"), [((0, 1, 2, 3, 5), 5.0), ((8,), 1.0)])
def test_figures_that_count_beyond_one_are_shown_as_they_are(
    tmp_path: Path, tasks: Path, right: tuple[int, ...], figure: float
) -> None:
    """One of ten is 1.0 to this aggregation: taken for a fraction it would be shown as 100."""
    aggregated(tasks, "of_ten", "mean")
    results = run(tmp_path / "run", say={row: text for row, text in WRONG.items() if row not in right})
    task = results["tasks"]["lladav_toy_a"]
    assert [task["metrics"][name]["value"] for name in ("of_ten", "mean")] == pytest.approx([figure, len(right) / 10])
    assert (task["scale"], task["scale_assumed"]) == ("points", True)
    assert "toy_a: figures go beyond 1, so they are shown as the task's own scoring gives them" in notes(results)
    assert (tmp_path / "run" / task["files"][0]).read_text() == "10\n"
    assert load_run(tmp_path / "run").tasks["lladav_toy_a"].scale == "points"


def test_fractions_stay_fractions(tmp_path: Path, tasks: Path) -> None:
    aggregated(tasks, "counted", "mean")
    task = run(tmp_path / "run", say={**WRONG, 0: "red"})["tasks"]["lladav_toy_a"]
    assert (task["metrics"]["counted"]["value"], task["scale"], task["scale_assumed"]) == (10.0, "fraction", False)


def test_a_stated_scale_is_held(tmp_path: Path, tasks: Path) -> None:
    aggregated(tasks, "of_ten")
    path = tasks / "lladav_toy_a.yaml"
    path.write_text(path.read_text().replace("metadata:\n", "metadata:\n  scale: fraction\n"))
    with pytest.raises(TaskError, match=r"of_ten: 8.0 is outside 0\.\.1"):
        run(tmp_path / "run")


def test_one_figure_shows_how_far_those_of_a_task_count(tmp_path: Path, tasks: Path) -> None:
    """Aggregations of captions take a minute each."""
    log = tmp_path / "calls"
    with (tasks / "toy_functions.py").open("a") as functions:
        for name in ("first", "second"):
            said = f"    with open({str(log)!r}, 'a') as log:\n        log.write('{name} ')\n"
            functions.write(f"\ndef {name}(items):\n{said}    return sum(items) / 20\n")
    aggregated(tasks, "first", "second")

    def load() -> toy.ToyModel:
        log.unlink()  # of trying the task out
        return toy.ToyModel()

    execute(SPEC, load, RunDirectory(tmp_path / "run"))
    calls = log.read_text().split()
    assert calls.count("first") > 3
    assert calls.count("second") == 1
