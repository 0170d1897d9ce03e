from __future__ import annotations

import pytest

from lladav_eval.scoring.exact import exact_match, extract_exact


@pytest.mark.parametrize(
    ("text", "target", "right"),
    [
        ("472", "472", True),
        (" 472.\n", "472", True),
        ("4 72", "472", False),
        ("47", "472", False),
        ("4722", "472", False),
        ("First", "first", True),
        ("", "", False),
        ("   ", "472", False),
        ("7-3+", "7-3+", True),
    ],
)
def test_exact_match(text: str, target: str, right: bool) -> None:
    assert exact_match(text, target) is right


def test_nothing_said_is_none() -> None:
    assert extract_exact(" ") is None
