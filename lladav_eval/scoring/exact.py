"""Exact match: the answer must be the target, up to case, white space and one trailing full stop."""

from __future__ import annotations

from lladav_eval.scoring.extract import clean


def extract_exact(text: str) -> str | None:
    """The cleaned answer, or None if nothing was said."""
    return clean(text) or None


def exact_match(text: str, target: str) -> bool:
    """True if text and target agree after cleaning, ignoring case."""
    answer = extract_exact(text)
    return answer is not None and answer.casefold() == clean(target).casefold()
