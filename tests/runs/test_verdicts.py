"""What a task's own functions may give, and what the run makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy

from lladav_eval.errors import TaskError
from lladav_eval.records import RunSpec
from lladav_eval.runs.execute import RunResult, execute
from lladav_eval.runs.store import RunDirectory
from lladav_eval.scoring.aggregate import interval

SPEC = RunSpec(tasks=("lladav_toy_a",), model="toy", max_failures="9")


METRIC_LIST = """metric_list:
  - metric: {}
    aggregation: !function toy_functions.mean
    higher_is_better: true"""


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def go(out: Path, **model: Any) -> tuple[RunResult, list[dict[str, Any]]]:
    result = execute(SPEC, lambda: toy.ToyModel(**model), RunDirectory(out))
    return result, [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]


def test_what_no_scorer_may_give_is_a_failed_sample_with_the_reason(tmp_path: Path, tasks: Path) -> None:
    kinds = """    fine = {"accuracy": 1.0, "status": "fine"}
    odd = {"a list": [1], "nothing": {"status": "scored"}, "a status": fine}
    if results[0] in odd:
        return odd[results[0]]
    read = """
    change(tasks / "toy_functions.py", "    read = ", kinds)
    result, samples = go(tmp_path / "run", say={0: "a list", 1: "nothing", 2: "a status"})
    assert [row["error"] for row in samples[:3]] == [
        "scoring failed: ValueError: process_results gave list instead of a mapping",
        "scoring failed: ValueError: process_results gave no accuracy",
        "scoring failed: ValueError: process_results gave status 'fine'",
    ]
    assert result.failed == 3
    assert result.results["tasks"]["lladav_toy_a"]["metrics"]["accuracy"]["value"] == 50.0


def test_metrics_alone_are_enough(tmp_path: Path, tasks: Path) -> None:
    """As of any task of lmms-eval: right or wrong as a truth value, no status, no extracted answer."""
    change(tasks / "toy_functions.py", 'return {"accuracy": float(', 'return {"accuracy": bool(')
    change(tasks / "toy_functions.py", ', "extracted": read, "status": status}', "}")
    result, samples = go(tmp_path / "run", say={0: " ", 1: "who knows"})
    assert [(row["status"], row["extracted"], row["metrics"]["accuracy"]) for row in samples[:3]] == [
        ("empty", None, 0), ("scored", None, 0), ("scored", None, 1),
    ]  # fmt: skip
    task = result.results["tasks"]["lladav_toy_a"]
    assert (task["empty"], task["scored"], task["metrics"]["accuracy"]["value"]) == (1, 9, 60.0)


def test_rows_of_one_cluster_are_one_observation_failed_ones_too(tmp_path: Path, tasks: Path) -> None:
    change(tasks / "lladav_toy_a.yaml", "category: answer", "cluster: answer")
    result, samples = go(tmp_path / "run", say={4: "green", 9: "red"}, fail=frozenset([1, 4, 7]))
    assert [row["cluster"] for row in samples[:5]] == ["red", "green", "blue", "red", "green"]
    assert samples[0]["category"] is None
    accuracy = result.results["tasks"]["lladav_toy_a"]["metrics"]["accuracy"]
    assert accuracy["value"] == 70.0
    # All of green failed and all else is right: three observations, of 4, 3 and 3 samples.
    low, high, method = interval([float(row % 3 != 1) for row in range(10)], [row % 3 for row in range(10)])
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((100 * low, 100 * high))
    assert accuracy["method"] == method == "student, clustered"


@pytest.mark.parametrize(
    ("target", "shown"),
    [("[1, None]", ["1", "None"]), ("7", 7), ("float('nan')", "nan"), ("{'a': 1}", "{'a': 1}"), ("doc['none']", None)],
)
def test_any_target_can_be_written_down(tmp_path: Path, tasks: Path, target: str, shown: Any) -> None:
    with (tasks / "toy_functions.py").open("a") as file:  # the first row's is asked for while the task is loaded
        file.write(f"\ndef doc_to_target(doc):\n    return {target} if doc['row'] else 'red'\n")
    change(tasks / "lladav_toy_a.yaml", "doc_to_target: answer", "doc_to_target: !function toy_functions.doc_to_target")
    _, samples = go(tmp_path / "run")
    assert (samples[1]["target"], samples[1]["status"]) == (shown, "scored")


def test_a_metric_missing_from_the_empty_answer_of_a_failed_sample_ends_the_run(tmp_path: Path, tasks: Path) -> None:
    """Where the figure is no mean, a failed sample counts as what the empty answer gives."""
    change(tasks / "toy_functions.py", "return sum(items) / len(items)", "return max(items) / 2")
    change(tasks / "toy_functions.py", "    read = ", "    if not results[0]:\n        return {}\n    read = ")
    with pytest.raises(TaskError, match=r"can't count its failed samples: .*an empty answer gave no accuracy"):
        go(tmp_path / "run", fail=frozenset([1]))
    assert go(tmp_path / "fine")[0].failed == 0


def test_a_failed_sample_counts_as_the_empty_answer_to_its_own_row(tmp_path: Path, tasks: Path) -> None:
    change(tasks / "toy_functions.py", "return sum(items) / len(items)", "return max(items)")
    change(
        tasks / "toy_functions.py",
        '"accuracy": float(read == doc["answer"])',
        '"accuracy": 0.1 * (read == doc["answer"])',
    )
    empty = '    if not results[0]:\n        return {"accuracy": doc["row"] / 10}\n    read = '
    change(tasks / "toy_functions.py", "    read = ", empty)
    result, _ = go(tmp_path / "run", fail=frozenset([3, 7]))
    assert result.results["tasks"]["lladav_toy_a"]["metrics"]["accuracy"]["value"] == 70


@pytest.mark.parametrize("empty", ["return {}", "raise KeyError", "raise SystemExit"])
def test_failed_samples_of_a_mean_count_as_0_whatever_the_empty_answer_gives(
    tmp_path: Path, tasks: Path, empty: str
) -> None:
    change(tasks / "lladav_toy_a.yaml", "metric_list:", METRIC_LIST.format("second"))
    change(tasks / "toy_functions.py", '"extracted": read,', '"second": 1.0, "extracted": read,')
    change(tasks / "toy_functions.py", "    read = ", f"    if not results[0]:\n        {empty}\n    read = ")
    result, _ = go(tmp_path / "run", say={9: "red"}, fail=frozenset([1]))
    metrics = result.results["tasks"]["lladav_toy_a"]["metrics"]
    assert {name: metric["value"] for name, metric in metrics.items()} == {"accuracy": 80, "second": 90}


def test_a_task_without_metrics_is_refused(tmp_path: Path, tasks: Path) -> None:
    text = (tasks / "lladav_toy_a.yaml").read_text()
    begin, end = text.index("metric_list:"), text.index("metadata:")
    (tasks / "lladav_toy_a.yaml").write_text(text[:begin] + "metric_list: []\n" + text[end:])
    with pytest.raises(TaskError, match="the task lladav_toy_a names no metric: add metric_list to its YAML"):
        go(tmp_path / "run")
