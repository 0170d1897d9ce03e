"""Relaxed accuracy of ChartQA: numbers within 5 % of the target, anything else an exact match.

Source: Masry et al. 2022, section 5; lmms-eval's ``relaxed_correctness`` reads percentages as fractions, as here.
"""

from __future__ import annotations

import re

from lladav_eval.scoring.extract import clean, concluded_answer, fold, joined_thousands, stated_or_framed
from lladav_eval.scoring.spoken import spoken
from lladav_eval.scoring.yes_no import extract_yes_no

TOLERANCE = 0.05
_NUMBER = re.compile(
    r"([-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(\s*%|\s+per\s?cent\b)?", re.ASCII
)
_APART = (
    r"(?:hundred|thousand|million|billion|trillion|dozen|lakh|crore)s?|[kmbt]|[mbt]n|mio|mrd|percentage|per|and|or|to|of"
    r"|out|in|on|at|by|from|for|with|as|if|not|is|are|was|than|versus|vs|x|less|more|fewer|over|under|plus|minus"
)
"""Words behind a number that make it another one, or say something about it."""
_QUANTITY = re.compile(
    r"(?:(?:about|approximately|approx\.|around|roughly|almost|nearly)\s+|[~\u2248]\s*)?(?:(?:US)?[$\u20ac\u00a3\u00a5\u20b9]\s*)?"
    rf"({_NUMBER.pattern})(?:\s*[$\u20ac\u00a3\u00a5\u20b9\u00b0]|(?:\s+(?!(?:{_APART})\b)[^\W\d_]+){{1,2}})?",
    re.IGNORECASE,
)


def extract_value(text: str, target: str = "") -> str | None:
    """The answer as text, without a currency sign: the part behind an answer cue, or what the last sentence says
    something is; None if nothing was said. Where yes or no is right, the one of the two that is said, if one is.

    >>> extract_value("The answer is $1,200."), extract_value("The largest share is 12.")
    ('1,200', '12')
    >>> extract_value("Yes, some are corrupt.", "No")
    'yes'
    """
    if clean(target).casefold() in ("yes", "no") and (word := extract_yes_no(text)):
        return word
    said = spoken(text)
    value = stated_or_framed(said)
    if value is None:
        value = concluded_answer(clean(said)) or clean(said)
    return value.lstrip("$\u20ac\u00a3").strip() or None


def to_number(text: str) -> float | None:
    """A number with optional thousands commas, exponent or per cent sign (5% is 0.05); None for other text."""
    match = _NUMBER.fullmatch(joined_thousands(fold(text)))
    if match is None:
        return None
    value = float(match[1].replace(",", ""))
    return value / 100 if match[2] else value


def quantity(text: str) -> float | None:
    """The number that a text says, with "about", a currency, or up to two words of what is counted: "12 years".

    Also that behind its only "=".
    """
    text = joined_thousands(text.partition("=")[2].strip() if text.count("=") == 1 else text)
    said = _QUANTITY.fullmatch(text)
    return to_number(said[1]) if said else None


def relaxed_match(text: str, target: str, tolerance: float = TOLERANCE) -> bool:
    """True if the value read from ``text`` is within ``tolerance`` of ``target``, relative to the target.

    A target of zero, or one that is not a number, must be matched exactly, ignoring case.
    """
    answer = extract_value(text, target)
    if answer is None:
        return False
    predicted, expected = quantity(answer), to_number(target)
    if predicted is not None and expected is not None:
        return abs(predicted - expected) <= tolerance * abs(expected) * (1 + 1e-9)
    return answer.casefold() == clean(target).casefold()
