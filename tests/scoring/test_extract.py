from __future__ import annotations

import pytest

from lladav_eval.scoring.extract import clean, final_text, is_empty, stated_answer


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
    ("text", "stated"),
    [
        ("B", None),
        ("The answer is B", "B"),
        ("Answer: 7", "7"),
        ("answer: 6. No, the final answer is: 7", "7"),
        ("the answers vary", None),
        ("The answer isn't here", None),
        ("The answer is", ""),
        ("Answer: 14\n\nBecause the bar says so.", "14"),
        ("Reasons.\n\n**Answer: 14**", "14"),
        ("**Answer:** 14", "14"),
        ("**Answer**: 14", "14"),
        ("__Answer: 14__ and more", "14 and more"),
        ("The answer is **14** cm.", "14 cm"),
        ("*Final answer: 14*", "14"),
        ("`Answer: 14`", "14"),
        ("**In short, the answer is 14**, as shown", "14, as shown"),
        ('"The answer is 14."', "14"),
        ("Answer：１４", "14"),
        ("As 2*3 = 6, the answer is 6*x", "6*x"),
        ("Answer:\n\n14", "14"),
    ],
)
def test_stated_answer(text: str, stated: str | None) -> None:
    assert stated_answer(text) == stated
    assert final_text(text) == (clean(text) if stated is None else stated)


def test_is_empty() -> None:
    assert is_empty(" \n\t")
    assert not is_empty(".")
