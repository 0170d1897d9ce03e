from __future__ import annotations

import pytest

from lladav_eval.scoring.yes_no import extract_yes_no


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("NO", "no"),
        ("Yes, there is no doubt.", "yes"),
        ("**No**, it isn't.", "no"),
        ("The answer is yes.", "yes"),
        ("I would say no", "no"),
        ("Answer: No", "no"),
        ("", None),
        ("Not sure", None),
        ("Nothing", None),
        ("yesterday", None),
        ("maybe yes, maybe no", None),
        ("7", None),
    ],
)
def test_extract_yes_no(text: str, answer: str | None) -> None:
    assert extract_yes_no(text) == answer
