from __future__ import annotations

import pytest

from lladav_eval.scoring.extract import boxed, clean, final_text, is_denied, is_empty, last_boxed, stated_answer


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
        (' "The answer is 14." ', "14"),
        ("***The answer is 14***", "14"),
        ("**Note** *the answer is 14*", "14"),
        ("Answer：１４", "14"),
        ("As 2*3 = 6, the answer is 6*x", "6*x"),
        ("Answer:\n\n14", "14"),
        ("I don't think the answer is 14", None),
        ("It is unclear whether the correct answer is 14", None),
        ("The answer is 14. I doubt that the answer is 15", "14. I doubt that the answer is 15"),
        ("If not, the answer is 14", "14"),
        ("It is not\nThe answer is 14", "14"),
    ],
)
def test_stated_answer(text: str, stated: str | None) -> None:
    assert stated_answer(text) == stated
    assert final_text(text) == (clean(text) if stated is None else stated)


def test_is_empty() -> None:
    assert is_empty(" \n\t")
    assert not is_empty(".")


@pytest.mark.parametrize(
    ("before", "denied"),
    [
        ("The answer is not ", True),
        ("It can't be (", True),
        ("I don't think it is ", True),
        ("I do not believe that the correct answer is ", True),
        ("unlikely to be **", True),
        ("I would rule out option ", True),
        ("all but ", True),
        ("none of the given options ", True),
        ("not in the options ", True),
        ("it isn't equal to ", True),
        ("", False),
        ("It is not. So ", False),
        ("Not sure, but ", False),
        ("The statement that is not correct is ", False),
        ("It is not\n", False),
        ("There is no doubt that it is ", False),
        ("It is not red, it is ", False),
        ("(red, but not a) - ", False),
        ("all of them except for ", True),
    ],
)
def test_is_denied(before: str, denied: bool) -> None:
    assert is_denied(before + "14", len(before)) is denied


def test_boxed() -> None:
    assert boxed("none") == []
    assert last_boxed("none") is None
    assert boxed("\\boxed{1}\nso \\boxed{2} and \\fbox{\\frac{1}{2}}, not \\boxed{3") == ["\\frac{1}{2}", "2"]
    assert last_boxed("\\boxed{1} or rather \\boxed{2}") == "2"
    assert final_text("It is $\\boxed{12}$.") == "12"
