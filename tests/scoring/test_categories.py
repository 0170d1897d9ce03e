"""A row's category comes from the row alone, in the words of its benchmark."""

from __future__ import annotations

from typing import Any

import pytest

from lladav_eval.scoring.categories import category_of, cell


@pytest.mark.parametrize(
    ("family", "row", "category"),
    [
        ("mmmu", {"id": "validation_Clinical_Medicine_12"}, "Clinical_Medicine"),
        ("mmmu", {"id": "odd"}, None),
        ("mmmu_pro_vision", {"subject": "History"}, "History"),
        ("mme", {"category": "code_reasoning"}, "code_reasoning"),
        ("mmstar", {"category": "coarse perception", "l2_category": "x"}, "coarse perception"),
        ("mmbench", {"category": "identity_reasoning"}, "identity_reasoning"),
        ("mmbench", {"category": None}, None),
        ("seedbench", {"question_type_id": 5}, "Instances Counting"),
        ("seedbench", {"question_type_id": "12"}, "Procedure Understanding"),
        ("seedbench", {"question_type_id": 13}, "13"),
        ("seedbench", {"question_type_id": None}, None),
        ("chartqa", {"type": "human_test"}, "human"),
        ("mathvista", {"metadata": {"task": "figure question answering"}}, "figure question answering"),
        ("mathvista", {"metadata": {}}, None),
        ("mathverse", {"metadata": {"subject": "Solid Geometry"}}, "Solid Geometry"),
        ("pope", {"category": "adversarial"}, "adversarial"),
        ("docvqa", {"question_types": ["figure/diagram"]}, None),
        ("None", {"category": "x"}, None),
    ],
)
def test_the_benchmarks_own_words(family: str, row: dict[str, Any], category: str | None) -> None:
    assert category_of(family, row) == category


def test_mvbench_is_told_apart_by_its_subtasks() -> None:
    assert category_of("mvbench", {"video": "x"}, "action_count") == "action_count"


def test_a_cell_as_text() -> None:
    row = {"a": " x ", "b": {"c": "y"}, "d.e": "z", "n": 3, "flag": True, "list": ["x"], "blank": " "}
    assert [cell(row, name) for name in ("a", "b.c", "d.e", "n")] == ["x", "y", "z", "3"]
    assert [cell(row, name) for name in ("flag", "list", "blank", "gone", "b", "b.gone", "a.c")] == [None] * 7
