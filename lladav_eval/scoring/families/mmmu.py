"""MMMU and MMMU-Pro.

Official sources: MMMU-Benchmark/MMMU, mmmu/utils/eval_utils.py and mmmu-pro/evaluate.py. Their parsers differ: MMMU's
wants a bare letter between spaces, MMMU-Pro's takes any letter before a space ("DNA " counts as A) and reads what
follows the last "Answer:" first. Where nothing parses both draw a random option; ours is drawn from the row's id.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from functools import partial

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.exact import exact_match
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.relaxed import extract_value, quantity, to_number
from lladav_eval.scoring.rows import (
    Protocol,
    Row,
    empty,
    gold_letter,
    lettered,
    list_of,
    percent,
    percent_by,
    seeded_guess,
    text_of,
    verdict,
)

_MISPRINTED = frozenset(("validation_Geography_15", "validation_Accounting_29"))
"""Published rows whose right letter isn't among their options (MMMU: D of three; MMMU-Pro: its options are one nested
list). The official scripts count every answer to them as wrong; any other such row is an error."""
_SUBJECT = re.compile(r"[^_]+_(.+)_\d+")
_SENTENCE_END = re.compile(r"\.\s(?=[A-Z])|\n")
_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?(?<!\d)\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:(?<!\d)\d+(?:\.\d+|\b)|\.\d+)(?![eE][+-]?\d+)(?![,\d])"),
)
"""The script's, which tries every digit of a long row as a start. They find the same from its first digit only."""


def parse_letter(text: str, options: Mapping[str, str], loose: bool = False) -> str | None:
    """The letter that the official parsers read, None where they would guess.

    ``loose`` is MMMU-Pro's variant: a letter before a space or a full stop, whatever stands before it. Bracketed
    letters come first, then bare ones, then (in more than five words) an option's content; the last mention wins.
    """
    for character in ",.!?;:'":
        text = text.strip(character)
    text = f" {text} "
    for shape in ("({})", "{} " if loose else " {} ", *(("{}.",) if loose else ())):
        found = [letter for letter in options if shape.format(letter) in text]
        if found:
            # Bare letters are located by " A " even where they were found otherwise: the first wins if none is.
            place = shape if shape == "({})" else " {} "
            return max(found, key=lambda letter: text.rfind(place.format(letter)))
    if len(text.split()) > 5:
        lowered = text.lower()
        found = [letter for letter, content in options.items() if content.lower() in lowered]
        if found:
            return max(found, key=lambda letter: lowered.rfind(options[letter].lower()))
    return None


def parse_letter_pro(text: str, options: Mapping[str, str]) -> str | None:
    """MMMU-Pro: the only option letter that occurs after the last "Answer:", else as ``parse_letter``."""
    _, cue, tail = text.rpartition("Answer:")
    if cue:
        found = [letter for letter in options if letter in tail]
        if len(found) == 1:
            return found[0]
    return parse_letter(text, options, loose=True)


def normalise(text: str) -> list[str | float]:
    """A number rounded to two decimals, else lower-case text (a single letter with a space on either side)."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def parse_open(text: str) -> list[str | float]:
    """The candidate answers of an open question: the shortest part after a key word of each line, and its numbers."""
    text = text.strip().strip(".").lower()
    parts = _SENTENCE_END.split(text)
    found = []
    for index, part in enumerate(parts):
        keys = (*_KEYS, "=") if index == len(parts) - 1 else _KEYS
        tails = [part.split(key)[-1].strip() for key in keys if key in part]
        # The official loop forgets an empty tail as soon as another key word follows.
        shortest: str | None = None
        for tail in tails:
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in set(":,.!?;'"):
            found.append(shortest)
    found = found or [text]
    numbers = [number for part in found for pattern in _NUMBERS for number in pattern.findall(part)]
    return [value for candidate in (*found, *numbers) for value in normalise(candidate)]


def open_match(candidates: Sequence[str | float], golds: Sequence[str]) -> bool:
    """True if a right text is part of a candidate text, or a candidate number is a right one."""
    wanted = [value for gold in golds for value in normalise(gold)]
    texts = [value for value in wanted if isinstance(value, str)]
    return any(
        any(text in candidate for text in texts) if isinstance(candidate, str) else candidate in wanted
        for candidate in candidates
    )


def _golds(row: Row) -> list[str]:
    """The right answers of an open question; several are a Python list written as text."""
    if isinstance(row.get("answer"), (list, tuple)):
        return list_of(row, "answer")
    text = text_of(row, "answer")
    if text.startswith("[") and text.endswith("]"):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [text]
        if isinstance(value, list) and value:
            return [str(item) for item in value]
    return [text]


def _same(text: str, gold: str) -> bool:
    """Strict equality of an open answer: as numbers to two decimals (the benchmark's precision), else as text."""
    answer, wanted = quantity(extract_value(text) or ""), to_number(gold.strip())
    if answer is not None and wanted is not None:
        return round(answer, 2) == round(wanted, 2)
    return exact_match(extract_value(text) or "", gold)


def _score_open(row: Row, text: str, protocol: Protocol, details: dict[str, str]) -> Score:
    golds = _golds(row)
    if is_empty(text):
        return empty(details)
    if protocol == "official":
        candidates = parse_open(text)
        return verdict(open_match(candidates, golds), " | ".join(map(str, candidates)), details)
    return verdict(any(_same(text, gold) for gold in golds), extract_value(text), details)


def score_options(
    family: str, row: Row, text: str, protocol: Protocol, identity: str, details: dict[str, str], pro: bool = False
) -> Score:
    """One multiple-choice answer by MMMU's rule (also MuirBench's), or MMMU-Pro's."""
    options = lettered(list_of(row, "options"))
    gold = "" if identity in _MISPRINTED and text_of(row, "answer") not in options else gold_letter(row, options)
    if is_empty(text):
        return empty(details)
    if protocol == "strict":
        letter = extract_choice(text, options)
        return verdict(letter == gold, letter, details)
    letter = parse_letter_pro(text, options) if pro else parse_letter(text, options)
    if letter is not None:
        return verdict(letter == gold, letter, details)
    guess = seeded_guess(family, identity, tuple(options))
    return Score(float(guess == gold), None, "unparsed", {**details, "guess": guess})


def score_mmmu(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer of MMMU."""
    identity = text_of(row, "id")
    subject = _SUBJECT.fullmatch(identity)
    details = {"subject": subject.group(1) if subject else "other"}
    kind = text_of(row, "question_type")
    if kind == "open":
        return _score_open(row, prediction, protocol, details)
    if kind != "multiple-choice":
        raise TaskError(f"the column 'question_type' must be 'multiple-choice' or 'open', not {kind!r}")
    return score_options("mmmu", row, prediction, protocol, identity, details)


def score_pro(family: str, row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer of MMMU-Pro."""
    details = {"subject": text_of(row, "subject")}
    return score_options(family, row, prediction, protocol, text_of(row, "id"), details, pro=True)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions, and by subject."""
    by_subject = {f"accuracy_{name}": value for name, value in percent_by(scores, "subject").items()}
    return {"accuracy": percent(scores), **by_subject}


_HEADLINE: Mapping[Protocol, str] = {"official": "accuracy", "strict": "accuracy"}
_PRO = ("mmmu_pro_standard", "mmmu_pro_vision")
SCORERS = {
    "mmmu": Scorer(
        "mmmu", ("id", "options", "answer", "question_type"), score_mmmu, aggregate, _HEADLINE, identity="id"
    ),
    **{
        family: Scorer(
            family,
            ("id", "options", "answer", "subject"),
            partial(score_pro, family),
            aggregate,
            _HEADLINE,
            identity="id",
        )
        for family in _PRO
    },
}
