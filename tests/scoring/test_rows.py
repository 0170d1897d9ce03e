"""Reading cells of a row."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from lladav_eval.errors import TaskError
from lladav_eval.scoring.rows import list_of, options_in, text_of


def test_a_list_may_be_written_as_text() -> None:
    for cell in (["1", 2], ("1", 2), "['1', 2]", " ['1', 2]\n"):
        assert list_of({"options": cell}, "options") == ["1", "2"]


def test_formulas_in_a_written_list_say_nothing_on_the_terminal() -> None:
    """MMMU's options hold backslashes, which Python warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list_of({"options": r"['$\mu$', '\alpha']"}, "options") == [r"$\mu$", "\alpha"]


@pytest.mark.parametrize("cell", ["[1,", "{[]: 1}", "1 +", "'text'", "7", 7, None, "[" * 5000, "__import__('os')"])
def test_what_is_no_list_is_one_line(cell: Any) -> None:
    with pytest.raises(TaskError, match=r"the column 'options' (doesn't parse as|must be) a list"):
        list_of({"options": cell}, "options")
    with pytest.raises(TaskError, match="the column 'choices' is missing; the row has options"):
        list_of({"options": cell}, "choices")


@pytest.mark.parametrize("cell", [None, float("nan")])
def test_an_empty_cell_is_no_text(cell: Any) -> None:
    assert text_of({"answer": 2.5}, "answer") == "2.5"
    with pytest.raises(TaskError, match="the column 'answer' must be text, not empty"):
        text_of({"answer": cell}, "answer")


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Which?\nA. x\nB. y", {"A": "x", "B": "y"}),
        ("Which?\n(A) x \n(B) y z", {"A": "x", "B": "y z"}),
        ("Choices:\nA:2\nB:2√3", {"A": "2", "B": "2√3"}),
        ("Which?\nA. x", None),
        ("Which?\nA. x\nA. y\nB. z", None),
        ("Which? A. x B. y", None),
        ("Which?\nA. x\nB. y\nC. z", None),
        ("", None),
    ],
)
def test_options_listed_in_a_question(question: str, found: dict[str, str] | None) -> None:
    assert options_in(question, "AB") == found
