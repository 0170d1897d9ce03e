"""Yes or no questions (POPE, MME): the first word decides; otherwise the only one of the two in the last line."""

from __future__ import annotations

import re

from lladav_eval.scoring.extract import UNABLE, clean, is_denied, last_line, stated_answer
from lladav_eval.scoring.spoken import reconsidered, spoken

_NOTHING_TO_SEE = (
    r"(?:image|picture|photo|video|context)s?"
    r"(?:\s*(?:[.,;!]|$)|\s+here\b|\s+to\s+(?:look|see|view|check|analy[sz]e|describe|answer|go)\b"
    r"|\s+(?:(?:is|was|are|were)\s+)?(?:provided|given|attached|available|uploaded|visible\s+to\s+me)\b)"
)
"""What makes "no" an excuse: "There is no image."; but "no image of a dog" is an answer."""
_NUMBER = (
    r"\.\s{0,2}\d[\d.,]*(?!\d)(?!\s+(?:is|was)(?:n't|\s+(?:not|wrong|incorrect)\b))"
    r"(?!\s+(?!(?:is|was|has|does|bus)\b)(?:[a-z]+s|people|men|women|children)\b)"
)
"""What makes "no." a number's sign: "No. 5 is red"; but "No. 5 dogs are there" and "No. 5 is wrong" are answers."""
_SAID = re.compile(
    # The words of a sign ('"no smoking"') say nothing, nor does "no idea".
    r"(?:(?<![\"'])|(?=(?:yes|no)[.,!\"']))\b"
    r"(yes|no(?!-\w|\s+(?:(?:longer|idea|clue|answer|comment|opinion|information|doubt|problem|worries|way\s+(?:to|of)"
    rf"|(?:more|fewer|less)\s+than)\b|{_NOTHING_TO_SEE})|{_NUMBER}))\b"
    # "Yes and no" neither, nor "Yes. No."; "Yes, and no dog" does.
    r"(?:\s*,?\s*(?:[/&|]|\bor\b|\band\b(?=\s+(?:yes|no)\b(?!\s+\w)))\s*(?:(?:maybe|perhaps|rather)\s+)?(yes|no)\b"
    r"|[\s.,;!]{1,4}(?P<next>yes|no)(?=\W*$|\W+(?:yes|no)\b))?",
    re.IGNORECASE,
)
_OTHER_LANGUAGES = {
    "yes": "\u662f \u662f\u7684 \u5bf9 \u5bf9\u7684 \u6709 \u6709\u7684 \u6b63\u786e \u306f\u3044",
    "no": "\u5426 \u4e0d \u4e0d\u662f \u4e0d\u662f\u7684 \u4e0d\u5bf9 \u9519 \u9519\u8bef \u6ca1\u6709"
    " \u4e0d\u6b63\u786e \u3044\u3044\u3048",
}
"""Chinese and Japanese words that say yes or no where they stand alone or before a comma: right, wrong, there is."""
_MEANING = {word: meaning for meaning, words in _OTHER_LANGUAGES.items() for word in words.split()}
_CLAUSE = re.compile(r"[\s.,;:!()\[\]]+")
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
        if first and first["next"]:
            return None
        if translated := _translated(candidate):
            return translated
    distinct = _all_words(last_line(text))
    return distinct.pop() if len(distinct) == 1 else None


def _translated(text: str) -> str | None:
    """The meaning of the first clause, if no other one that is but such a word says otherwise."""
    if text.isascii():
        return None
    clauses = [_MEANING.get(clause) for clause in _CLAUSE.split(_MARKS.sub("", text)) if clause]
    return clauses[0] if clauses and len(set(filter(None, clauses))) == 1 else None


def _all_words(text: str) -> set[str]:
    return {word for said in _SAID.finditer(text) if not is_denied(text, said.start()) for word in _words(said)}


def _words(said: re.Match[str]) -> set[str]:
    """The words said; none in "No, I can't tell"."""
    words = {word.lower() for word in said.groups() if word}
    return set() if words == {"no"} and UNABLE.match(said.string, said.end()) else words
