"""Yes or no questions (POPE, MME): the first word decides; otherwise the only one of the two that occurs."""

from __future__ import annotations

import re

from lladav_eval.scoring.extract import clean, stated_answer

_FIRST = re.compile(r"\W*(yes|no)\b(?!\s*(?:/|\bor\b)\s*(?:yes|no)\b)", re.IGNORECASE)
_ANYWHERE = re.compile(r"(?<!\bnot )(?<!\bnot a )\b(yes|no)\b", re.IGNORECASE)


def extract_yes_no(text: str) -> str | None:
    """``"yes"``, ``"no"``, or None if neither or both could be meant.

    >>> extract_yes_no("Yes, there is no doubt.")
    'yes'
    >>> extract_yes_no("Not sure") is None
    True
    """
    whole = clean(text)
    for candidate in (stated_answer(text), whole):
        first = _FIRST.match(candidate or "")
        if first:
            return first.group(1).lower()
    distinct = {word.lower() for word in _ANYWHERE.findall(whole)}
    return distinct.pop() if len(distinct) == 1 else None
