"""Yes or no questions (POPE, MME): the first word decides; otherwise the only one of the two in the last line."""

from __future__ import annotations

import re

from lladav_eval.scoring.extract import UNABLE, clean, is_denied, last_line, stated_answer
from lladav_eval.scoring.spoken import reconsidered, spoken

_SAID = re.compile(
    # The words of a sign ('"no smoking"') say nothing, nor does "no idea".
    r"(?:(?<![\"'])|(?=(?:yes|no)[.,!\"']))\b"
    r"(yes|no(?!\s+(?:longer|idea|clue|answer|comment|opinion|information|doubt|problem|worries|way\s+(?:to|of)"
    r"|(?:image|picture|photo|video|context)s?\s+(?:(?:is|was|are|were)\s+)?(?:provided|given|attached|available))\b))\b"
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
    return reconsidered(spoken(text), _read, _read, _all_words)


def _read(text: str) -> str | None:
    whole = clean(text)
    for candidate in (stated_answer(text) or "", whole):
        first = _SAID.match(_MARKS.sub("", candidate))
        if first and len(_words(first)) == 1:
            return _words(first).pop()
    distinct = _all_words(last_line(text))
    return distinct.pop() if len(distinct) == 1 else None


def _all_words(text: str) -> set[str]:
    return {word for said in _SAID.finditer(text) if not is_denied(text, said.start()) for word in _words(said)}


def _words(said: re.Match[str]) -> set[str]:
    """The words said; none in "No, I can't tell"."""
    words = {word.lower() for word in said.groups() if word}
    return set() if words == {"no"} and UNABLE.match(said.string, said.end()) else words
