"""Relaxed accuracy of ChartQA: numbers within 5 % of the target, anything else an exact match.

Source: Masry et al. 2022, section 5; lmms-eval's ``relaxed_correctness`` reads percentages as fractions, as here.
"""

from __future__ import annotations

import re

from lladav_eval.scoring.extract import clean, final_text, fold

TOLERANCE = 0.05
_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*%?", re.ASCII)


def extract_value(text: str) -> str | None:
    """The answer as text: the part behind an answer cue, without a currency sign; None if nothing was said.

    >>> extract_value("The answer is $1,200.")
    '1,200'
    """
    return final_text(text).lstrip("$€£").strip() or None


def to_number(text: str) -> float | None:
    """A number with optional thousands commas, exponent or per cent sign (5% is 0.05); None for other text."""
    text = fold(text).strip()
    if not _NUMBER.fullmatch(text):
        return None
    percent = text.endswith("%")
    value = float(text.rstrip("%").strip().replace(",", ""))
    return value / 100 if percent else value


def relaxed_match(text: str, target: str, tolerance: float = TOLERANCE) -> bool:
    """True if the value read from ``text`` is within ``tolerance`` of ``target``, relative to the target.

    A target of zero, or one that is not a number, must be matched exactly, ignoring case.
    """
    answer = extract_value(text)
    if answer is None:
        return False
    predicted, expected = to_number(answer), to_number(target)
    if predicted is not None and expected is not None:
        return abs(predicted - expected) <= tolerance * abs(expected) * (1 + 1e-9)
    return answer.casefold() == clean(target).casefold()
