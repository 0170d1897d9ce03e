"""Where letters of options stand in a text: the patterns of one set of letters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from lladav_eval.scoring.wording import CJK


@dataclass(frozen=True)
class LetterPatterns:
    """Patterns that find one of a set of letters."""

    leading: re.Pattern[str]
    """``B``, ``(B)``, ``[B]``, ``B.``, ``B) seven``, ``B: seven``, ``B - seven``; lower case too, not the word "a"."""
    cued: re.Pattern[str]
    """Behind an answer cue also ``B because``, ``option B``; "A", "I" only before what can't be their noun."""
    bracketed: re.Pattern[str]
    """``... therefore (B)``, but not ``k[B]``."""
    named: re.Pattern[str]
    """``option B``, ``choice B``, ``the correct option is B``."""
    correct: re.Pattern[str]
    """``B is right``, ``(B) is the answer``."""
    further: re.Pattern[str]
    """Behind a letter, another one joined to it: ``B, C``, ``B or (C)``, ``B/C``, ``B; C``, ``B (or C)``."""
    second: re.Pattern[str]
    """Behind a label, another one, at once or as in ``(B) seven and (C)``."""


@lru_cache(maxsize=64)
def letter_patterns(letters: str) -> LetterPatterns:
    """The patterns for some letters, upper case."""
    among = re.escape(letters)
    listing = re.escape(letters.replace("I", "")) or "(?!)"
    articles = "".join(letter for letter in letters if letter in "AI")
    plain = re.escape("".join(letter for letter in letters if letter not in "AI"))
    alternatives = [rf"([{plain}])(?:\b|(?=[{CJK}]))(?!['-])"] if plain else []
    if articles:
        because = r"\s+(?:because|since|as|for|due|and|or|is|which)\b"
        alternatives.append(rf"([{articles}])(?=[!;.):{CJK}]|\s*$|,(?!\s*as an?\b)|\s*\([^()]*\)\W*$|{because})")
    return LetterPatterns(
        leading=re.compile(
            rf"[(\[]\s*[\"']?([{among}])[\"']?\s*[)\]]"
            rf"|([{among}])(?:\s*[):!;]|\s*\.(?![A-Za-z]\b)|\s+-\s|[\"']*\s*$)"
            rf"|([{listing}])\s*,|({'I' if 'I' in letters else '(?!)'})\s*,(?=\s*(?:because|since|not)\b)",
            re.IGNORECASE | re.ASCII,
        ),
        cued=re.compile(rf"(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+|\u9009\u9879)?[\"'*(]*(?:{'|'.join(alternatives)})"),
        bracketed=re.compile(rf"(?<![A-Za-z0-9_\])}}])[(\[]\s*([{among}])\s*[)\]]"),
        named=re.compile(
            r"(?<![Ee]ach )\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)(?:s(?!:))?(?:\s+is)?[:\s]"
            rf"\s*[\"'*(]*([{among}])\b[)\"'*]*"
        ),
        correct=re.compile(
            rf"(?<![\w.'(-])(?<![Ss]tatement )[(\[]?([{among}])[)\]]?"
            r"(?=\s+is\s+(?:also\s+)?(?:(?:the\s+)?(?:correct|right)|the\s+(?:best\s+)?(?:answer|option|choice))\b"
            r"(?!\s+(?:in|for|about|regarding|that|when|if|only)\b))"
            rf"|(?<![A-Za-z0-9.'(-])([{among}])(?:\u9009\u9879)?\u662f?(?:\u6b63\u786e|\u5bf9\u7684?(?!\w))"
        ),
        further=re.compile(
            r"[\"'*)\].:]*\s*\(?(?:[,;/&+]\s*(?:(?:and|or)\s+)?|(?:and|or|as\s+well\s+as)\s+"
            r"|[\u548c\u6216\u4e0e\u53ca\u3068\u304b])"
            r"(?:(?:also|even|else|maybe|perhaps|possibly|probably|both|the|it's|it\s+is|[Oo]ption|[Cc]hoice)\s+)*"
            rf"(?:[(\[]\s*([{among}{among.lower()}])\s*[)\]]|([{among}])(?=\s*[.):\],;/&{CJK}]|\s*$|\s+(?:and|or|because|since|are)\b))"
        ),
        second=re.compile(
            r"(?:(?:(?!\b(?:because|since|as|for|which|while|but|not|than|so|if|is|are|was|were|has|have)\b|\.\s)"
            r"[^;:!?()\[\]]){0,60}?(?:[,;]|\b(?:and|or)\b))?"
            rf"\s*(?:[(\[]\s*([{among}])\s*[)\]]|([{among}])[.):])(?!\w|\s+(?:is|are|was|were|has|have|does|would)\b)",
            re.IGNORECASE,
        ),
    )


def letter_of(match: re.Match[str]) -> str:
    """The letter that a pattern found."""
    return next(group for group in match.groups() if group is not None).upper()


def end_of(match: re.Match[str]) -> int:
    """Where the letter that a pattern found ends."""
    return match.end(match.lastindex or 0)


def kind_of(match: re.Match[str]) -> tuple[bool, str]:
    """Whether a letter stands in brackets, and the character behind it."""
    place = end_of(match)
    return "(" in match.group() or "[" in match.group(), match.string[place : place + 1]
