from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lladav_eval.scoring.distance import levenshtein


def plain(first: str, second: str) -> int:
    """The textbook table."""
    row = list(range(len(second) + 1))
    for index, a in enumerate(first, 1):
        new = [index]
        for place, b in enumerate(second, 1):
            new.append(min(row[place] + 1, new[-1] + 1, row[place - 1] + (a != b)))
        row = new
    return row[-1]


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ("a" * 500, "b" * 400, 500),
    ],
)
def test_known_distances(first: str, second: str, distance: int) -> None:
    assert levenshtein(first, second) == distance


@given(first=st.text(alphabet="abcé ", max_size=40), second=st.text(alphabet="abcé ", max_size=40))
def test_agrees_with_the_textbook(first: str, second: str) -> None:
    assert levenshtein(first, second) == plain(first, second) == levenshtein(second, first)
