from __future__ import annotations

import pytest

from lladav_eval.scoring.relaxed import extract_value, relaxed_match, to_number


@pytest.mark.parametrize(
    ("text", "target", "right"),
    [
        ("45", "45", True),
        ("47.25", "45", True),
        ("47.3", "45", False),
        ("42.75", "45", True),
        ("42.7", "45", False),
        ("-45", "45", False),
        ("-47", "-45", True),
        ("0", "0", True),
        ("0.01", "0", False),
        ("-0.0", "0", True),
        ("1,200", "1200", True),
        ("$1,200.", "1200", True),
        ("45%", "0.45", True),
        ("45%", "45%", True),
        ("45", "45%", False),
        ("4.5e1", "45", True),
        ("The answer is 45.", "45", True),
        ("Red.", "red", True),
        ("dark red", "red", False),
        ("1.05", "1", True),
        ("47.25", " 45 ", True),
        ("red", "RED", True),
        ("45", "red", False),
        ("", "45", False),
        ("", "", False),
        ("nan", "45", False),
        ("inf", "45", False),
        ("45 46", "45", False),
        ("4_5", "45", False),
        ("Yes, some are corrupt", "Yes", True),
        ("Yes, some are corrupt", "No", False),
        ("No. The answer they want is yes", "Yes", False),
        ("No. The answer they want is yes", "No", True),
    ],
)
def test_relaxed_match(text: str, target: str, right: bool) -> None:
    assert relaxed_match(text, target) is right


def test_pieces() -> None:
    assert extract_value(" ") is None
    assert extract_value("Yes, some are corrupt", "Yes") == extract_value("Yes, some are corrupt", "no ") == "yes"
    assert extract_value("They are corrupt", "Yes") == "corrupt"
    assert extract_value("<think>It is 5.</think>\\boxed{7}") == "7"
    assert to_number("five") is None
    assert to_number(".5") == 0.5
