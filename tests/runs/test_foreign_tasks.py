"""Tasks as others write them for lmms-eval: each runs, or is refused in one line before a model is loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import toy

from lladav_eval.errors import TaskError
from lladav_eval.records import RunSpec
from lladav_eval.reports.load import load_run
from lladav_eval.reports.regression import Settings, regress
from lladav_eval.reports.table import notes
from lladav_eval.runs.execute import execute
from lladav_eval.runs.own_judges import KEYS
from lladav_eval.runs.store import RunDirectory

SPEC = RunSpec(tasks=("lladav_toy_a",), model="toy", max_failures="100%")
FILTER = "\n  - name: {}\n    filter:\n      - function: take_first"


@pytest.fixture
def tasks(tasks: Path) -> Path:
    with (tasks / "toy_functions.py").open("a") as functions:
        functions.write("\ndef submit(items, extra):\n    return 1.0\n")
    (tasks / "needs_a_key.py").write_text("import sys\nsys.exit('set a key first')\n")
    (tasks / "needs_a_folder.py").write_text("import os\nfolder = os.environ['TOY_HOME']\n")
    (tasks / "needs_openai.py").write_text("import openai\nserver = openai.OpenAI()\n")
    return tasks


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric_list", f"filter_list:{FILTER.format('a')}{FILTER.format('b')}\nmetric_list", "2 entries in filter_li"),
        ("metric_list", "filter_list: []\nmetric_list", "0 entries in filter_list"),
        ("!function toy_functions.mean", "maen", "accuracy has an aggregation that lmms-eval doesn't know"),
        ("toy_functions.mean", "toy_functions.submit", "accuracy wants `extra`, .*: leave the metric out"),
        ("toy_functions.mean", "needs_a_key.mean", "can't be loaded: SystemExit: set a key first"),
        ("toy_functions.mean", "needs_a_folder.mean", "its functions want the environment variable TOY_HOME$"),
        ("toy_functions.mean", "needs_openai.mean", "ask a judge, and there is no key for one: set OPENAI_API_KEY "),
        ("test_split: test", "test_split: tset", "can't be loaded: KeyError: 'tset'"),
        ("doc_to_target: answer\n", "", "has no doc_to_target: add it to its YAML"),
        ("dataset_path: parquet\n", "", "has no dataset_path: add it to its YAML"),
    ],
)
def test_what_cant_be_run_is_refused_before_the_model_is_loaded(
    tmp_path: Path, tasks: Path, old: str, new: str, message: str
) -> None:
    path = tasks / "lladav_toy_a.yaml"
    path.write_text(path.read_text().replace(old, new))

    def load() -> toy.ToyModel:
        raise AssertionError("the model was loaded")

    with pytest.raises(TaskError, match=message) as caught:
        execute(SPEC, load, RunDirectory(tmp_path / "run"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("doc_to_visual(doc)", "doc_to_visual failed: no such video"),
        ("process_results(doc, results)", "scoring failed: SystemExit: no such video"),
    ],
)
def test_a_function_that_exits_fails_its_own_sample_alone(
    tmp_path: Path, tasks: Path, function: str, reason: str
) -> None:
    path = tasks / "toy_functions.py"
    head = f"def {function}:\n"
    exits = "    if doc['row'] == 3:\n        raise SystemExit('no such video')\n"
    assert head in path.read_text()
    path.write_text(path.read_text().replace(head, head + exits))
    result = execute(SPEC, toy.ToyModel, RunDirectory(tmp_path / "run"))
    samples = [json.loads(line) for line in (tmp_path / "run/samples.jsonl").read_text().splitlines()]
    assert [sample["error"] for sample in samples] == [None] * 3 + [reason] + [None] * 6
    assert result.failed == 1


def test_an_aggregation_that_exits_is_one_line(tmp_path: Path, tasks: Path) -> None:
    path = tasks / "toy_functions.py"
    path.write_text(path.read_text().replace("    return sum", "    raise SystemExit('no\\nkey')\n    return sum"))
    with pytest.raises(TaskError, match=r"metric accuracy: the task's aggregation failed: SystemExit: no key$"):
        execute(SPEC, toy.ToyModel, RunDirectory(tmp_path / "run"))


@pytest.mark.parametrize("shown", ["doc['image']", "(doc['image'],)", "iter([doc['image']])"])
def test_a_picture_needs_no_list(tmp_path: Path, tasks: Path, shown: str) -> None:
    path = tasks / "toy_functions.py"
    path.write_text(path.read_text().replace('[doc["image"].convert("RGB")]', shown))
    result = execute(SPEC, toy.ToyModel, RunDirectory(tmp_path / "run"))
    assert (result.results["tasks"]["lladav_toy_a"]["n"], result.failed) == (10, 0)


IN_PART = """
def process_results(doc, results):
    right = float(results[0] == doc["answer"])
    return {"overall": right, "low" if doc["row"] < 3 else "high": right}
"""


def write_in_part(tasks: Path) -> None:
    """As lmms-eval's ChartQA, MME, SEED-Bench and MMStar give their parts."""
    with (tasks / "toy_functions.py").open("a") as functions:
        functions.write(IN_PART)
    text = (tasks / "lladav_toy_a.yaml").read_text()
    metric = text[text.index("  - metric: accuracy") : text.index("metadata:")]
    several = "".join(metric.replace("accuracy", name) for name in ("low", "high", "overall", "nowhere"))
    (tasks / "lladav_toy_a.yaml").write_text(text.replace(metric, several))


@pytest.mark.parametrize(("limit", "n"), [(None, 10), (3, 3)])
def test_a_metric_of_some_samples_only_is_their_figure(tmp_path: Path, tasks: Path, limit: int | None, n: int) -> None:
    write_in_part(tasks)
    # It is wrong about row 9 of itself.
    model = toy.ToyModel(say={0: "red", 1: "mauve", 2: "mauve", 5: "mauve"}, fail=frozenset({2, 4}))
    result = execute(replace(SPEC, limit=limit), lambda: model, RunDirectory(tmp_path / "run"))
    task = result.results["tasks"]["lladav_toy_a"]
    figures = {name: metric["value"] for name, metric in task["metrics"].items()}
    right = {"low": 1 / 3, "high": 4 / 7, "overall": 5 / 10} if limit is None else {"low": 1 / 3, "overall": 1 / 3}
    assert figures == pytest.approx({name: 100 * share for name, share in right.items()})
    assert (task["n"], task["headline"]) == (n, "low")
    assert task["metrics"]["low"]["n"] == 3
    partly = ["toy_a: low is of 3 of the 10 samples, those that the task gives it to"]
    assert notes(result.results) == (partly if limit is None else [])


def test_failed_samples_count_in_their_own_part_where_all_of_the_other_are_answered(
    tmp_path: Path, tasks: Path
) -> None:
    write_in_part(tasks)
    model = toy.ToyModel(fail=frozenset(range(3, 10)))
    result = execute(SPEC, lambda: model, RunDirectory(tmp_path / "run"))
    metrics = result.results["tasks"]["lladav_toy_a"]["metrics"]
    figures = {name: (round(metric["value"], 6), metric["n"]) for name, metric in metrics.items()}
    assert figures == {"low": (100, 3), "high": (0, 7), "overall": (30, 10)}
    samples = [json.loads(line) for line in (tmp_path / "run/samples.jsonl").read_text().splitlines()]
    assert [sample["metrics"].keys() - {"overall"} for sample in samples] == [{"low"}] * 3 + [{"high"}] * 7
    execute(SPEC, toy.ToyModel, RunDirectory(tmp_path / "better"))
    runs = load_run(tmp_path / "run"), load_run(tmp_path / "better")
    rows = [regress(*runs, Settings(metric=metric)).rows[0] for metric in ("low", "high", "overall")]
    assert [(row.n, row.wins) for row in rows] == [(3, 0), (7, 5), (10, 5)]


def test_failed_samples_of_which_nobody_knows_the_part_end_the_run(tmp_path: Path, tasks: Path) -> None:
    write_in_part(tasks)
    path = tasks / "toy_functions.py"
    path.write_text(
        path.read_text().replace("    right = ", "    if not results[0]:\n        raise KeyError\n    right = ")
    )
    with pytest.raises(TaskError, match="can't count its failed samples: process_results of an empty answer failed"):
        execute(SPEC, lambda: toy.ToyModel(fail=frozenset({4})), RunDirectory(tmp_path / "run"))


@pytest.mark.parametrize("aggregation", ["toy_functions.mean_or_file", "builtins.max"])
def test_an_aggregation_that_can_do_without_args_runs(tmp_path: Path, tasks: Path, aggregation: str) -> None:
    with (tasks / "toy_functions.py").open("a") as functions:
        functions.write("\ndef mean_or_file(items, args=None):\n    return mean(items)\n")
    path = tasks / "lladav_toy_a.yaml"
    path.write_text(path.read_text().replace("toy_functions.mean", aggregation))
    result = execute(SPEC, toy.ToyModel, RunDirectory(tmp_path / "run"))
    assert result.results["tasks"]["lladav_toy_a"]["metrics"]["accuracy"]["value"] in (80.0, 100.0)


def test_a_sample_without_any_metric_has_failed(tmp_path: Path, tasks: Path) -> None:
    path = tasks / "lladav_toy_a.yaml"
    path.write_text(path.read_text().replace("metric: accuracy", "metric: acuracy"))
    result = execute(SPEC, toy.ToyModel, RunDirectory(tmp_path / "run"))
    assert result.failed == 10
    assert "scoring failed: ValueError: process_results gave no acuracy" in (tmp_path / "run/samples.jsonl").read_text()


@pytest.mark.parametrize(
    ("setting", "right"),
    [
        ("metadata:", 0),
        ("reasoning_tags: none\nmetadata:", 0),
        ('reasoning_tags: [["<think>", "</think>"]]\nmetadata:', 1),
        ("auto_strip_thinking: true\nmetadata:", 1),
    ],
)
def test_thoughts_are_taken_out_where_the_task_says_so(tmp_path: Path, tasks: Path, setting: str, right: int) -> None:
    path = tasks / "lladav_toy_a.yaml"
    path.write_text(path.read_text().replace("metadata:", setting))
    model = toy.ToyModel(say={0: "<think>green?</think> red"})
    result = execute(replace(SPEC, limit=1), lambda: model, RunDirectory(tmp_path / "run"))
    assert result.results["tasks"]["lladav_toy_a"]["metrics"]["accuracy"]["value"] == 100 * right
