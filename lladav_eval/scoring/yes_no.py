"""Yes or no questions (POPE, MME): the first word decides; otherwise the only one of the two that occurs."""

from __future__ import annotations

import re

from lladav_eval.scoring.extract import clean, is_denied, stated_answer
from lladav_eval.scoring.spoken import spoken

_SAID = re.compile(
    # The words of a sign ('"no smoking"') say nothing, nor does "no idea".
    r"(?:(?<![\"'])|(?=(?:yes|no)[.,!\"']))\b"
    r"(yes|no(?!\s+(?:longer|idea|clue|answer|comment|opinion|information|doubt|way\s+(?:to|of))\b))\b"
    # "Yes and no" neither; "Yes, and no dog" does.
    r"(?:\s*,?\s*(?:[/&|]|\bor\b|\band\b(?=\s+(?:yes|no)\b(?!\s+\w)))\s*(?:(?:maybe|perhaps|rather)\s+)?(yes|no)\b)?",
    re.IGNORECASE,
)
_MARKS = re.compile(r"^\W+")


def extract_yes_no(text: str) -> str | None:
    """``"yes"``, ``"no"``, or None if neither or both could be meant.

    >>> extract_yes_no("Yes, there is no doubt.")
    'yes'
    >>> extract_yes_no("Not sure") is None
    True
    """
    text = spoken(text)
    whole = clean(text)
    for candidate in (stated_answer(text) or "", whole):
        first = _SAID.match(_MARKS.sub("", candidate))
        if first and len(_words(first)) == 1:
            return _words(first).pop()
    distinct = {word for said in _SAID.finditer(whole) if not is_denied(whole, said.start()) for word in _words(said)}
    return distinct.pop() if len(distinct) == 1 else None


def _words(said: re.Match[str]) -> set[str]:
    return {word.lower() for word in said.groups() if word}
