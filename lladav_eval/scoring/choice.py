"""Lettered multiple choice: text to one of the letters on offer, deterministically, or None.

What a text states as its answer is read first, then the text as a whole; the first reading that finds letters decides,
and where it finds several there is no answer. A bare "A" inside a sentence is an article and a bare "I" a pronoun, so
single letters count only at the start, after a cue, or in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lladav_eval.scoring.extract import UNABLE, boxed, clean, concluded_answer, is_denied, stated_answer
from lladav_eval.scoring.letter_patterns import LetterPatterns, end_of, kind_of, letter_of, letter_patterns
from lladav_eval.scoring.spoken import reconsidered, spoken
from lladav_eval.scoring.wording import (
    alone,
    bare_letters,
    begins_list,
    chosen_at_end,
    is_called_wrong,
    is_item,
    is_reference,
    joined_before,
    occurs,
    without_bullet,
)

_LABEL_SHAPED = re.compile(r"\W*([A-Za-z])\W*")
_DENIED_BEHIND = re.compile(
    r"[\"'*]*[)\]]?\s*(?:(?P<one>is|was|seems|looks|does)|are|were|seem|look|do|can?|could|must|should)"
    r"(?:\s+\w+ly|\s+also)?(?:(?:n't|\s*not)(?:\s+be)?\s+(?:correct|right|true|possible|likely|the|fit|match|work)"
    r"|(?:\s+be)?\s+(?:incorrect|wrong|false|invalid|impossible|unlikely|excluded|eliminated|rejected|ruled\s+out))\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"(?:n't|\b(?:not|none|never|cannot|neither|either|except|(?:all|anything|everything)\s+but))\b", re.IGNORECASE
)
"""In a statement it leaves the next letter unread, however far that is: "none of the options, though (B) is near"."""
_LATEX = re.compile(r"\\(?:text|math|bf|rm)[a-z]*|\\f?box(?:ed)?|\\[()\[\]]|[${}]")
"""What stands around a letter that is set as a formula."""
_LABELS = re.compile(r"(?:^|\s)([(\[]?)([A-Za-z])([.):\]]|\s-)(?=\s+(?!(?:and|or|is|are|was|were|because|since|as)\b))")
"""Labels that something is listed behind: not those in "(A) because (B) and (C) are wrong"."""
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
_REASON = re.compile(r"[\"']*(?:[.;!][\"']*\s|,?\s+(?:because|since)\b|,\s+as\b)")
_COMMENT = re.compile(r"[\"']*[,.;!][\"']*\s")
_BARE = frozenset(("yes", "no", "true", "false"))
"""Contents that a comma sets apart from what follows; behind others it may go on with a list: "cats, dogs"."""
_BOLD = re.compile(r"\*\*|__|`")
_HEADING = re.compile(r"^#{1,6}\s*")


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
    readings = _Readings(letters, letter_patterns(letters))
    contents = (
        {letter.upper(): clean(content).casefold() for letter, content in options.items()}
        if isinstance(options, Mapping)
        else {}
    )
    return reconsidered(
        spoken(text),
        lambda said: readings.of_text(said, contents),
        lambda turn: readings.of_text(turn, contents, turn=True),
        lambda turn: readings.mentioned(turn, contents),
    )


@dataclass(frozen=True)
class _Readings:
    """The letters that a text may mean: none, one or, unclear, several."""

    letters: str
    patterns: LetterPatterns

    def of_text(self, text: str, contents: Mapping[str, str], turn: bool = False) -> str | None:
        """The letter that a text states, begins with, ends in or calls the option; the last not behind a turn."""
        stated, whole = stated_answer(text), clean(text)
        # Of a box before what the text states nothing is left.
        states = stated is not None and stated_answer(text.rpartition("box")[2]) is not None
        framed = [] if states else [clean(each) for each in boxed(text)]
        if framed or stated is not None:
            found = self.of_statement(stated or "", contents) or set[str]().union(
                *(self.of_statement(each, contents) for each in framed)
            )
            found = found or self.at_start(_plain(whole), contents) or self.of_last_line(text, contents)
        else:
            # Long texts go through the options one by one: only their last line may conclude, if it isn't one of these.
            before, _, final = text.strip().rpartition("\n")
            last = _plain(final)
            listing = turn or (before != "" and is_item(final))
            found = (
                self.of_first_line(text, contents)
                or self.of_last_line(text, contents)
                or (set() if self._lists_lines(text) else self.at_start_of_text(whole, contents))
                or chosen_at_end(last, self.letters)
                or self._affirmed(self.patterns.correct, last)
                or (set() if listing else self.anywhere(last))
                or self.begins_with_content(whole, contents)
                or self.with_content(concluded_answer(text) or "", contents)
            )
        return found.pop() if len(found) == 1 else None

    def mentioned(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letters that a text speaks of without denying them."""
        lowered = text.casefold()
        named = {each for each, content in contents.items() if occurs(content, lowered)}
        return named | self._affirmed(self.patterns.bracketed, text) | self._affirmed(bare_letters(self.letters), text)

    def of_statement(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """Letters in what stands behind an answer cue: at its start, else in brackets."""
        plain = _plain(text)
        return (
            self.with_content(text, contents)
            or self.at_start(plain, contents)
            or self._first(self.patterns.cued, plain, contents)
            or self._affirmed(self.patterns.bracketed, plain, statement=True)
            or chosen_at_end(plain, self.letters)
            # Denied: then the text before is no answer either.
            or (set(self.letters) if self.patterns.bracketed.search(plain) else set())
            or self.begins_with_content(text, contents)
            or self.with_content(concluded_answer(text) or "", contents)
        )

    def of_first_line(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter of the first line, if that is a label, alone or with what it stands for, or that alone.

        With those of other lines that are as short.
        """
        if self._lists_options(_plain(text)):
            return set()
        line, *others = without_bullet(text.strip()).split("\n")
        found = self._whole_label(_plain(line), contents) or self.with_content(_plain(line), contents)
        return found.union(*(self._whole_label(_plain(other), contents) for other in others)) if found else found

    def of_last_line(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter of a last line like ``**B**`` or ``B. seven``.

        None if lines before it begin with labels, too, unless these are the list of all options.
        """
        lines = [_plain(line) for line in text.split("\n") if line.strip()]
        before = lines[:-1]
        labels = self._labels(before)
        if not before or labels not in ("", self.letters):
            return set()
        if is_denied(before[-1], len(before[-1])) or begins_list(before[-1]):
            return set()
        return self._whole_label(lines[-1], contents)

    def _labels(self, lines: Sequence[str]) -> str:
        """The letters of the lines that begin with a label, without those that are denied."""
        found = [label for label in map(self.patterns.leading.match, lines) if label]
        return "".join(letter_of(label) for label in found if not _DENIED_BEHIND.match(label.string, end_of(label)))

    def _lists_lines(self, text: str) -> bool:
        """Whether the first two letters begin the first labelled lines of several."""
        labels = self._labels([_plain(line) for line in text.split("\n")]) if "\n" in text else ""
        return len(labels) > 1 and labels.startswith(self.letters[:2])

    def _whole_label(self, line: str, contents: Mapping[str, str]) -> set[str]:
        """The letter of a line that is a label, alone or with what it stands for."""
        letter, line = alone(line)
        if letter:
            return {letter} & set(self.letters)
        match = self.patterns.leading.match(line)
        if match is None and line[:1] in self.letters and line[1:2] == " ":
            content, rest = contents.get(line[0]), clean(line[1:]).casefold()
            return {line[0]} if content and rest in (content, f"({content})") else set()
        named = match and contents.get(letter_of(match)) and _rest(line, match) == contents[letter_of(match)]
        return {letter_of(match)} if match and named else set()

    def at_start_of_text(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter whose content is the whole text, or with which it begins."""
        plain = _plain(text)
        return self.with_content(text, contents) or self.with_content(plain, contents) or self.at_start(plain, contents)

    def at_start(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter with which a text begins, as a label, and those joined to it; all if it lists the options."""
        return self._first(self.patterns.leading, text, contents)

    def _first(self, pattern: re.Pattern[str], text: str, contents: Mapping[str, str]) -> set[str]:
        match = pattern.match(text)
        if match is None:
            return set()
        letter = letter_of(match)
        content, rest = contents.get(letter, ""), _rest(text, match)
        named = content != "" and rest.startswith(content) and not rest[len(content) :][:1].isalnum()
        found, end = ({letter}, match.end()) if named else self._run(text, match)
        if not found or (not named and is_called_wrong(text, end)):
            return set()
        if self._lists_options(text):
            return set(self.letters)
        # A content may itself hold what looks like a label.
        second = (
            self.patterns.second.match(rest, len(content))
            if named
            else self.patterns.second.match(text, max(end, match.end()))
        )
        if second and kind_of(second) == kind_of(match) and not _DENIED_BEHIND.match(second.string, second.end()):
            found.add(letter_of(second))
        return found

    def _lists_options(self, text: str) -> bool:
        """Whether a text begins with labels in their order: with the first three, if there are so many."""
        labels = _LABELS.findall(text)
        alike = "".join(letter for bracket, letter, mark in labels if (bracket, mark) == labels[0][::2])
        return len(self.letters) > 1 and alike.upper().startswith(self.letters[:3])

    def _run(self, text: str, match: re.Match[str]) -> tuple[set[str], int]:
        """The letter that ``match`` found and those joined to it, without those denied behind them; where they end."""
        letters, clause, place = [letter_of(match)], 0, end_of(match)
        while further := self.patterns.further.match(text, place):
            if ";" in further.group():
                clause = len(letters)
            letters.append(letter_of(further))
            place = end_of(further)
        denial = _DENIED_BEHIND.match(text, place)
        if denial:
            # "(B), (A) is wrong", but "(B); (A) and (C) are wrong".
            del letters[-1 if denial["one"] else clause :]
        return set(letters), place

    def anywhere(self, text: str) -> set[str]:
        """The letter in brackets, if it is one; else those called an option."""
        bracketed = self._affirmed(self.patterns.bracketed, text)
        if len(bracketed) == 1:
            return bracketed
        return self._affirmed(self.patterns.named, text) | self._affirmed(self.patterns.correct, text) or bracketed

    def _affirmed(self, pattern: re.Pattern[str], text: str, statement: bool = False) -> set[str]:
        found: set[str] = set()
        done = 0
        for match in pattern.finditer(text):
            place = match.start()
            if place < done:
                continue
            aside = pattern is self.patterns.bracketed and is_reference(text, place)
            if statement:
                aside = _NEGATION.search(text, done, place) is not None
            letters, done = self._run(text, match)
            if not aside and not is_denied(text, place) and not is_called_wrong(text, done):
                found |= letters | joined_before(text, place, self.letters)
        return found

    def begins_with_content(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter of the option that a text begins with, as in "Dark blue, because ..." or "No, there are four."

        Only if none of the others is in the text, too.
        """
        lowered = text.casefold().lstrip("\"'")
        found = {
            letter
            for letter, content in contents.items()
            if content[-1:].isalpha() and lowered.startswith(content) and not _LABEL_SHAPED.fullmatch(content)
            if (_REASON if content not in _BARE else _COMMENT).match(lowered, len(content))
            if content not in _BARE or not UNABLE.match(lowered, len(content))
        }
        named = any(occurs(content, lowered) for letter, content in contents.items() if letter not in found)
        return found if len(found) == 1 and not named else set()

    def with_content(self, text: str, contents: Mapping[str, str]) -> set[str]:
        """The letter of the only option that the text is, but for an article; none if the text looks like a letter."""
        wanted, label = text.casefold(), _LABEL_SHAPED.fullmatch(text)
        if not wanted or (label and label.group(1).upper() in self.letters):
            return set()
        for said in (wanted, _ARTICLE.sub("", wanted)):
            found = {letter for letter, content in contents.items() if content == said}
            if found:
                return found if len(found) == 1 else set()
        return set()


def _plain(text: str) -> str:
    """A text without the marks of bold, code, formulas and of a heading."""
    return _HEADING.sub("", clean(_LATEX.sub(" ", _BOLD.sub("", text))))


def _rest(text: str, match: re.Match[str]) -> str:
    """What follows a label, as contents are compared."""
    return clean(text[match.end() :].lstrip(" .:)-,")).casefold()
