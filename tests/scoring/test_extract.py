from __future__ import annotations

import pytest

from lladav_eval.scoring.extract import after_cue, clean, is_empty


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", ""),
        ("  a \n b ", "a b"),
        ("**Yes.**", "Yes"),
        ("`42`.", "42"),
        ('"blue"', "blue"),
        ("3.14", "3.14"),
        ("wait...", "wait..."),
        ("**", "**"),
        (".", ""),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("B", "B"),
        ("The answer is B", "B"),
        ("Answer: 7", "7"),
        ("answer: 6. No, the final answer is: 7", "7"),
        ("the answers vary", "the answers vary"),
        ("The answer isn't here", "The answer isn't here"),
    ],
)
def test_after_cue(text: str, rest: str) -> None:
    assert after_cue(text) == rest


def test_is_empty() -> None:
    assert is_empty(" \n\t")
    assert not is_empty(".")
