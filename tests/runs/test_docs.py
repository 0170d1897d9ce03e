"""A benchmark's rows in the run loop: the part of a split that a task takes, and scoring takes too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lladav_eval.errors import TaskError
from lladav_eval.runs.tasks import load_tasks, tasks_dir

FUNCTIONS = """
def all_rows(rows): return rows
def images(rows): return rows.select([n for n, kind in enumerate(rows["data_type"]) if kind == "image"])
def backwards(rows): return images(rows).select([1, 0])
def filtered(rows): return rows.filter(lambda row: row["data_type"] == "image")
def listed(rows): return [row for row in rows if row["data_type"] == "image"]
"""


def rows_of(tmp_path: Path, function: str, kinds: tuple[str, ...] = ("image", "video", "image")) -> list[str]:
    """Questions of the image part of such a split, chosen by one of the functions."""
    (tmp_path / "odd_rows.py").write_text(FUNCTIONS)
    (tmp_path / "part.yaml").write_text(
        f"include: {tasks_dir()}/seedbench/lladav_seedbench_image.yaml\n"
        f"task: lladav_part\nprocess_docs: !function odd_rows.{function}\n"
    )
    table = tmp_path / "data" / "lmms-lab-encoder" / "SEED-Bench" / "test.jsonl"
    table.parent.mkdir(parents=True)
    choices = {f"choice_{letter}": letter for letter in "abcd"}
    rows = [{"question": f"Q{n}", "data_type": kind, "answer": "A", **choices} for n, kind in enumerate(kinds)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_tasks(["lladav_part"], [tmp_path], data_dir=tmp_path / "data")["lladav_part"]
    return [row["question"] for row in task.eval_docs]


def test_a_task_of_some_rows_takes_those_that_scoring_takes(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "images") == ["Q0", "Q2"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("all_rows", r"must choose the same rows as metadata.where \(those with {'data_type': 'image'}\), in their"),
        ("backwards", "in their order"),
        ("listed", "must choose the same rows"),
        ("filtered", r"no attribute 'filter'; a benchmark's rows have column_names, rows\[COLUMN\] and select"),
    ],
)
def test_other_rows_than_scoring_takes_are_refused(tmp_path: Path, function: str, reason: str) -> None:
    with pytest.raises(TaskError, match=rf"^lladav_part, .*test.jsonl: process_docs.*{reason}"):
        rows_of(tmp_path, function)


def test_a_part_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no row has {'data_type': 'image'}: the split is empty for this task"):
        rows_of(tmp_path, "images", ("video", "video"))
