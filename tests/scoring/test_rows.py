"""Reading cells of a row."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from lladav_eval.errors import TaskError
from lladav_eval.scoring.rows import list_of


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
