"""MMMU's open questions: candidates as its script collects them; strictly, the same number or text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lladav_eval.scoring.families.mmmu import _NUMBERS, normalise, open_match, parse_open
from lladav_eval.scoring.registry import get_scorer


def right(text: str, answer: str, protocol: str) -> bool:
    row = {"id": "validation_Math_1", "options": "[]", "answer": answer, "question_type": "open"}
    return get_scorer("mmmu").score(row, text, protocol, 0).value == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "answer", "official", "strict"),
    [
        ("5", "5", True, True),
        ("5.0", "5", True, True),
        ("5.001", "5", True, True),
        ("5.01", "5", False, False),
        ("1,234", "1234", True, True),
        ("The answer is 1,234.", "1234", True, True),
        ("x = 12.97 so it is 12.97", "12.97", True, True),
        ("x = 12.97", "12.97", True, True),
        ("12.97 V", "12.97", True, True),
        ("The city is Tampa.", "['Tampa', 'Florida']", True, True),
        ("12.97 or 13", "12.97", True, False),
        ("12%", "12", True, False),
        ("Tampa", "['Tampa', 'Florida']", True, True),
        ("It is in Florida", "['Tampa', 'Florida']", True, False),
        ("Transformation.", "Transformation", True, True),
        ("no transformation at all", "Transformation", True, False),
        ("24/7", "['24/7', '3.429']", True, True),
        ("3.43", "['24/7', '3.429']", True, True),
        ("C", "C", True, True),
        ("abc", "C", False, False),
        ("arrow c points", "C", True, False),
        ("−141", "-141", False, True),
        ("", "5", False, False),
        ("[unclosed", "[unclosed", True, True),
        ("$", "5", False, False),
    ],
)
def test_open_answers(text: str, answer: str, official: bool, strict: bool) -> None:
    assert right(text, answer, "official") is official
    assert right(text, answer, "strict") is strict


def test_pieces() -> None:
    assert normalise(" 1,234.567 ") == [1234.57]
    assert normalise("B") == [" b", "b "]
    assert set(parse_open("So the result is 3.5. Thus x = 4")) >= {4.0, "4"} or 4.0 in parse_open("Thus x = 4")
    assert open_match([3.0], ["3"])
    assert not open_match(["3"], ["3"])


SCRIPT_S_NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
)


@settings(max_examples=500, deadline=None)
@given(text=st.text(alphabet="1203.,eE-+x _٣", max_size=24))
def test_numbers_are_found_where_the_script_finds_them(text: str) -> None:
    assert [pattern.findall(text) for pattern in _NUMBERS] == [re.findall(each, text) for each in SCRIPT_S_NUMBERS]
