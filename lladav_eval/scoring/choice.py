"""Lettered multiple choice: text to one of the letters on offer, deterministically, or None.

Readings are tried from the strictest to the loosest, and each must be unambiguous. A bare "A" inside a sentence is
an article and a bare "I" a pronoun, so single letters count only at the start, after a cue, or in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lladav_eval.scoring.extract import after_cue, clean

_LISTED = re.compile(r"^\s*\(?([A-Z])[).:]\s*(\S.*)$", re.MULTILINE)


def extract_choice(text: str, options: Mapping[str, str] | Sequence[str]) -> str | None:
    """The chosen letter, or None if none or several could be meant.

    Args:
        text: what the model wrote.
        options: the letters on offer; as a mapping, also what each one stands for, so that an answer that repeats
            the content of exactly one option counts as that option.

    >>> extract_choice("(b) because ...", "ABCD")
    'B'
    >>> extract_choice("Because", "ABCD") is None
    True
    """
    letters = "".join(letter.upper() for letter in options)
    readings = _readings(letters)
    whole = clean(text)
    cued = after_cue(whole)
    tail = whole if cued == whole else clean(cued)
    for candidate in (whole,) if tail is whole else (tail, whole):
        letter = _group(readings.leading.match(candidate)) or _only(readings.bracketed.findall(candidate))
        if letter is not None:
            return letter
    if tail is not whole:
        letter = _group(readings.cued.match(tail))
        if letter is not None:
            return letter
    contents = options if isinstance(options, Mapping) else {}
    return _only(readings.named.findall(whole)) or _content(tail, contents) or _content(whole, contents)


@dataclass(frozen=True)
class _Readings:
    """The patterns for one set of letters."""

    leading: re.Pattern[str]
    """``B``, ``(B)``, ``[B]``, ``B.``, ``B) seven``, ``B: seven``; lower case too, but not the word "a"."""
    cued: re.Pattern[str]
    """Behind an answer cue also ``B because``, ``option B``; "A", "I" only before a word that can't be their noun."""
    bracketed: re.Pattern[str]
    """``... therefore (B)``."""
    named: re.Pattern[str]
    """``option B``, ``choice B``, ``the correct option is B``."""


@lru_cache(maxsize=64)
def _readings(letters: str) -> _Readings:
    among = re.escape(letters)
    articles = "".join(letter for letter in letters if letter in "AI")
    plain = re.escape("".join(letter for letter in letters if letter not in "AI"))
    alternatives = [rf"([{plain}])\b(?!['-])"] if plain else []
    if articles:
        alternatives.append(rf"([{articles}])\s+(?:because|since|as|for|due|and|is|which)\b")
    return _Readings(
        leading=re.compile(
            rf"[(\[]\s*([{among}])\s*[)\]]|([{among}])\s*(?:[.):]|,(?!\s*[{among}]\b)|$)", re.IGNORECASE | re.ASCII
        ),
        cued=re.compile(rf"(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+)?[\"'*(]*(?:{'|'.join(alternatives)})"),
        bracketed=re.compile(rf"[(\[]\s*([{among}])\s*[)\]]"),
        named=re.compile(rf"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)(?:\s+is)?[:\s]\s*[\"'*(]*([{among}])\b"),
    )


def _group(match: re.Match[str] | None) -> str | None:
    """The letter that a pattern found."""
    return None if match is None else next(group for group in match.groups() if group is not None).upper()


def _content(text: str, contents: Mapping[str, str]) -> str | None:
    """The letter of the only option whose content is the whole answer."""
    wanted = text.casefold()
    if not wanted:
        return None
    return _only(letter.upper() for letter, content in contents.items() if clean(content).casefold() == wanted)


def _only(found: Iterable[str]) -> str | None:
    """The single distinct element, else None."""
    distinct = set(found)
    return distinct.pop() if len(distinct) == 1 else None


def options_in(question: str, letters: str) -> dict[str, str] | None:
    """What the letters stand for where a question lists them itself, each on its line: ``A. x``, ``(A) x``, ``A: x``.

    None unless every one of ``letters`` is listed exactly once.

    >>> options_in("Where?\\n(A) here\\n(B) there", "AB")
    {'A': 'here', 'B': 'there'}
    """
    found = _LISTED.findall(question)
    listed = dict(found)
    if len(listed) != len(found) or set(listed) != set(letters):
        return None
    return {letter: listed[letter].strip() for letter in letters}
