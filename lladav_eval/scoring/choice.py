"""Lettered multiple choice: text to one of the letters on offer, deterministically, or None.

What a text states as its answer is read first, then the text as a whole; the first reading that finds letters decides,
and where it finds several there is no answer. A bare "A" inside a sentence is an article and a bare "I" a pronoun, so
single letters count only at the start, after a cue, or in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lladav_eval.scoring.extract import clean, last_boxed, stated_answer

_LISTED = re.compile(r"^\s*\(?([A-Z])[).:]\s*(\S.*)$", re.MULTILINE)
_LABEL_SHAPED = re.compile(r"\W*([A-Za-z])\W*")
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|except|than|cannot)|n't)\s+(?:be\s+)?(?:the\s+)?(?:option\s+|choice\s+|letter\s+)?\W*$",
    re.IGNORECASE,
)
_DENIED_BEHIND = re.compile(
    r"[\"'*]*[)\]]?\s*(?:(?:is|are|was)\s+(?:not\s+(?:correct|right|the)|incorrect|wrong|false)"
    r"|(?:is|are|was)n't\s+(?:correct|right|the))\b",
    re.IGNORECASE,
)
_LATEX = re.compile(r"\\(?:text|math|bf|rm)[a-z]*|\\f?box(?:ed)?|\\[()\[\]]|[${}]")
"""What stands around a letter that is set as a formula."""
_LABELS = re.compile(r"(?:^|\s)([A-Z])[.):](?=\s)")
_BOLD = re.compile(r"\*\*|__|`")


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
    readings = _readings("".join(letter.upper() for letter in options))
    contents = (
        {letter.upper(): clean(content).casefold() for letter, content in options.items()}
        if isinstance(options, Mapping)
        else {}
    )
    stated, whole = stated_answer(text), clean(text)
    if stated is None:
        stated = last_boxed(text)
    if stated is not None:
        found = readings.of_statement(clean(stated), contents) or readings.at_start(_plain(whole), contents)
    else:
        found = readings.of_first_line(text, contents) or readings.of_text(whole, contents)
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class _Readings:
    """Patterns for one set of letters, and the letters that they find in a text; none, one or, unclear, several."""

    letters: str
    leading: re.Pattern[str]
    """``B``, ``(B)``, ``[B]``, ``B.``, ``B) seven``, ``B: seven``, ``B - seven``; lower case too, not the word "a"."""
    cued: re.Pattern[str]
    """Behind an answer cue also ``B because``, ``option B``; "A", "I" only before what can't be their noun."""
    bracketed: re.Pattern[str]
    """``... therefore (B)``, but not ``k[B]``."""
    named: re.Pattern[str]
    """``option B``, ``choice B``, ``the correct option is B``."""
    further: re.Pattern[str]
    """Behind a letter, another one joined to it: ``B, C``, ``B or (C)``, ``B/C``."""
    closing: re.Pattern[str]
    """``... (B).`` at the end of a text."""
    label: re.Pattern[str]
    """``(B)``, ``B.``, ``B)`` or ``B:`` in the middle of a text."""

    def of_statement(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """Letters in what stands behind an answer cue: at its start, or in brackets at its end."""
        plain = _plain(text)
        last = self.closing.search(plain)
        return (
            self._with_content(text, contents)
            or self.at_start(plain, contents)
            or self._first(self.cued, plain, contents)
            or ({_letter(last)} if last and not _DENIED_BEFORE.search(plain, 0, last.start()) else set())
        )

    def of_first_line(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter of the first line, if that is a label, alone or with what it stands for, or that alone."""
        if self._lists_options(text):
            return set()
        line = _plain(text.strip().split("\n", 1)[0])
        if _LABEL_SHAPED.fullmatch(line):
            return self.at_start(line, contents)
        match = self.leading.match(line)
        if match and contents.get(_letter(match)) and _rest(line, match) == contents[_letter(match)]:
            return {_letter(match)}
        return self._with_content(line, contents)

    def of_text(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """Letters in a whole text."""
        plain = _plain(text)
        return (
            self._with_content(text, contents)
            or self._with_content(plain, contents)
            or self.at_start(plain, contents)
            or self._anywhere(plain)
        )

    def at_start(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter with which a text begins, as a label; all of them if it lists the options."""
        return self._first(self.leading, text, contents)

    def _first(self, pattern: re.Pattern[str], text: str, contents: Mapping[str, str]) -> set[str]:
        match = pattern.match(text)
        if match is None:
            return set()
        letter = _letter(match)
        content, rest = contents.get(letter, ""), _rest(text, match)
        named = content != "" and rest.startswith(content) and not rest[len(content) :][:1].isalnum()
        if not named and _DENIED_BEHIND.match(text, match.end(match.lastindex or 0)):
            return set()
        if self._lists_options(text):
            return set(self.letters)
        return {letter} if named else {letter, *self._joined(text, match)[0]}

    def _lists_options(self, text: str) -> bool:
        """Whether a text begins with all the labels in their order."""
        return len(self.letters) > 2 and "".join(_LABELS.findall(text)).startswith(self.letters)

    def _joined(self, text: str, match: re.Match[str]) -> tuple[set[str], int]:
        """The letters behind the one that ``match`` found, joined to it or as labels of its kind; where they end."""
        found: set[str] = set()
        place = match.end(match.lastindex or 0)
        while further := self.further.match(text, place):
            if _DENIED_BEHIND.match(text, further.end(further.lastindex or 0)):
                break
            found.add(_letter(further))
            place = further.end(further.lastindex or 0)
        label = self.label.match(text, match.end())
        if label and _kind(label) == _kind(match) and not _DENIED_BEHIND.match(text, label.end()):
            found.add(_letter(label))
        return found, place

    def _anywhere(self, text: str) -> set[str]:
        """The letter in brackets, if it is one; else those called an option."""
        bracketed = self._affirmed(self.bracketed, text)
        named = set() if len(bracketed) == 1 else self._affirmed(self.named, text)
        return named or bracketed

    def _affirmed(self, pattern: re.Pattern[str], text: str) -> set[str]:
        found: set[str] = set()
        done = 0
        for match in pattern.finditer(text):
            if match.start() < done or _DENIED_BEHIND.match(text, match.end(match.lastindex or 0)):
                continue
            if _DENIED_BEFORE.search(text, max(0, match.start() - 40), match.start()):
                continue
            more, done = self._joined(text, match)
            found |= {_letter(match), *more}
        return found

    def _with_content(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter of the only option whose content is the whole text, unless that looks like a letter on offer."""
        wanted, label = text.casefold(), _LABEL_SHAPED.fullmatch(text)
        if not wanted or (label and label.group(1).upper() in self.letters):
            return set()
        found = {letter for letter, content in contents.items() if content == wanted}
        return found if len(found) == 1 else set()


@lru_cache(maxsize=64)
def _readings(letters: str) -> _Readings:
    among = re.escape(letters)
    listing = re.escape(letters.replace("I", "")) or "(?!)"
    articles = "".join(letter for letter in letters if letter in "AI")
    plain = re.escape("".join(letter for letter in letters if letter not in "AI"))
    alternatives = [rf"([{plain}])\b(?!['-])"] if plain else []
    if articles:
        because = r"\s+(?:because|since|as|for|due|and|or|is|which)\b"
        alternatives.append(rf"([{articles}])(?=[!;.):]|\s*$|,(?!\s*as an?\b)|\s*\([^()]*\)\W*$|{because})")
    return _Readings(
        letters,
        leading=re.compile(
            rf"[(\[]\s*([{among}])\s*[)\]]"
            rf"|([{among}])(?:\s*[):!;]|\s*\.(?![A-Za-z]\b)|\s+-\s|[\"']*\s*$)"
            rf"|([{listing}])\s*,|({'I' if 'I' in letters else '(?!)'})\s*,(?=\s*(?:because|since|not)\b)",
            re.IGNORECASE | re.ASCII,
        ),
        cued=re.compile(rf"(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+)?[\"'*(]*(?:{'|'.join(alternatives)})"),
        bracketed=re.compile(rf"(?<![A-Za-z0-9_\])}}])[(\[]\s*([{among}])\s*[)\]]"),
        named=re.compile(rf"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)s?(?:\s+is)?[:\s]\s*[\"'*(]*([{among}])\b[)\"'*]*"),
        further=re.compile(
            rf"[\"'*)\].:]*\s*(?:[,/&+]\s*(?:(?:and|or)\s+)?|(?:and|or)\s+)(?:the\s+)?(?:[Oo]ption\s+|[Cc]hoice\s+)?"
            rf"(?:[(\[]\s*([{among}{among.lower()}])\s*[)\]]|([{among}])(?=\s*[.):\],;/&]|\s*$|\s+(?:and|or|because|since)\b))"
        ),
        closing=re.compile(rf"(?<![A-Za-z0-9_\])}}])[(\[]\s*([{among}])\s*[)\]]\W*$"),
        label=re.compile(rf"\s*(?:[(\[]\s*([{among}])\s*[)\]]|([{among}])[.):])(?!\w)", re.IGNORECASE),
    )


def _letter(match: re.Match[str]) -> str:
    """The letter that a pattern found."""
    return next(group for group in match.groups() if group is not None).upper()


def _kind(match: re.Match[str]) -> tuple[bool, str]:
    """Whether a label begins with a bracket, and its last character."""
    text = match.group().strip()
    return text[0] in "([", text[-1]


def _plain(text: str) -> str:
    """A text without the marks of bold, code and formulas."""
    return clean(_LATEX.sub(" ", _BOLD.sub("", text)))


def _rest(text: str, match: re.Match[str]) -> str:
    """What follows a label, as contents are compared."""
    return clean(text[match.end() :].lstrip(" .:)-,")).casefold()


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
