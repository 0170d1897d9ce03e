"""Yes or no questions (POPE, MME): the first word decides; otherwise the only one of the two that occurs."""

from __future__ import annotations

import re

from lladav_eval.scoring.extract import after_cue, clean


def extract_yes_no(text: str) -> str | None:
    """``"yes"``, ``"no"``, or None if neither or both could be meant.

    >>> extract_yes_no("Yes, there is no doubt.")
    'yes'
    >>> extract_yes_no("Not sure") is None
    True
    """
    for candidate in (clean(after_cue(text)), clean(text)):
        first = re.match(r"\W*(yes|no)\b", candidate, re.IGNORECASE)
        if first:
            return first.group(1).lower()
    distinct = {word.lower() for word in re.findall(r"\b(yes|no)\b", text, re.IGNORECASE)}
    return distinct.pop() if len(distinct) == 1 else None
