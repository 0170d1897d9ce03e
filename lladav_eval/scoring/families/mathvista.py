"""MathVista.

Official source: lupantech/MathVista, evaluation/extract_answer.py and calculate_score.py: an answer that already is a
choice or a number stands as it is, from any other a judge extracts the answer; the extraction is brought to the type
of the right answer and compared as text. A choice that is neither a letter nor "(B) ..." becomes the choice with the
smallest edit distance. An empty extraction, which would become the shortest choice that way, is wrong here. Spaces
around responses and extractions don't count, as in the authors' fork.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.distance import levenshtein
from lladav_eval.scoring.extract import (
    clean,
    is_denied,
    is_empty,
    joined_thousands,
    last_boxed,
    last_line,
    stated_answer,
)
from lladav_eval.scoring.judging import Judge, JudgeCall, prompt_template, unsettled
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import (
    LETTERS,
    Protocol,
    Row,
    accuracy_by,
    empty,
    lettered,
    list_of,
    text_of,
    verdict,
)
from lladav_eval.scoring.spoken import reconsidered, spoken
from lladav_eval.scoring.wording import is_item

_BRACKETED = re.compile(r"\(([a-zA-Z])\)")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+", re.ASCII)
_CONCLUSION = re.compile(
    r"(?:\b(?:is|are|was|were|equals)|=)\s*(?:(?:about|approximately|around|exactly|only)\s+)?[$€£]?\s*"
    rf"({_NUMBER.pattern})",
    re.IGNORECASE | re.ASCII,
)
_NO_MORE = re.compile(r"[^\d.,;:^*/()=+\\-]{0,40}")
"""What may stand behind a final number: a unit or a few words, but nothing that makes it another one."""
_CALCULATION = re.compile(r"\d\s*[*×·^]\s*[\da-z(\\]|[A-Za-z)]\s*[*×·+]\s*\d|\d\(")
"""Behind the last "=" it leaves the value open: "perimeter = 2 * (a + b)"."""
_REASON = re.compile(r"[,;]?\s+(?:because|since|as|which)\b|\.\s")
_LIST = re.compile(r"\[[^\[\]]*\]")
_TYPES = ("integer", "float", "list", "text")


def _kind(row: Row) -> tuple[str, list[str]]:
    """(answer type, choices); choices are empty for a free-form question. Raises TaskError on an inconsistent row."""
    answer_type = text_of(row, "answer_type")
    if text_of(row, "question_type") == "multi_choice":
        choices = list_of(row, "choices")
        if text_of(row, "answer") not in choices:
            raise TaskError(f"the answer {text_of(row, 'answer')!r} is outside the choices {choices}")
        return answer_type, choices
    if answer_type not in _TYPES:
        raise TaskError(f"the answer_type must be one of {', '.join(_TYPES)}, not {answer_type!r}")
    return answer_type, []


def settled(row: Row, response: str) -> bool:
    """Whether the official script takes a response as the extraction itself, without asking the judge."""
    answer_type, choices = _kind(row)
    if not response or response in choices:
        return True
    try:
        if answer_type == "integer":
            int(response)
            return True
        if answer_type == "float":
            float(response)
            return True
    except ValueError:
        pass
    return False


def normalise(row: Row, extraction: str) -> str | None:
    """The extraction as an answer of the row's type; None where it can't be one."""
    answer_type, choices = _kind(row)
    if choices:
        text = extraction.strip()
        bracketed = _BRACKETED.search(text)
        letter = bracketed.group(1).upper() if bracketed else text
        options = dict(zip(LETTERS, choices, strict=False))
        if letter in options:
            return options[letter]
        return min(choices, key=lambda choice: levenshtein(letter, choice))
    try:
        if answer_type == "integer":
            return str(int(float(extraction)))
        if answer_type == "float":
            return str(round(float(extraction), int(float(text_of(row, "precision")))))
    except (ValueError, OverflowError, TaskError):
        return None
    return extraction if answer_type == "list" else None


def answer_rule(row: Row, extraction: str) -> Score:
    """The official score of an extraction."""
    details = {"answer_type": text_of(row, "answer_type")}
    gold = text_of(row, "answer")
    if is_empty(extraction):
        _kind(row)
        return empty(details)
    answer = normalise(row, extraction)
    return verdict(answer is not None and answer.strip() == gold.strip(), answer, details)


def _reply(row: Row, prediction: str, replies: Sequence[str]) -> str | None:
    """The extraction: the response itself where it is one, else the judge's first reply."""
    response = prediction.strip()
    if settled(row, response):
        return response
    return replies[0] if replies else None


def next_call(row: Row, prediction: str, replies: Sequence[str]) -> JudgeCall | None:
    """The extraction prompt, where the rule doesn't settle the answer."""
    if _reply(row, prediction, replies) is not None:
        return None
    parts = (prompt_template("mathvista_extract"), text_of(row, "query"), prediction.strip())
    return JudgeCall("extract", "\n\n".join((parts[0], f"{parts[1]}\n\n{parts[2]}", "Extracted answer: ")), 256)


def score_judged(row: Row, prediction: str, replies: Sequence[str], doc_id: int) -> Score:
    """The official score of a response, with the judge's replies."""
    text_of(row, "answer")
    extraction = _reply(row, prediction, replies)
    return (
        unsettled({"answer_type": text_of(row, "answer_type")}) if extraction is None else answer_rule(row, extraction)
    )


def _strict(row: Row, text: str) -> str | None:
    """The answer read by rule alone, in the form of the row's answers; None if nothing unambiguous is there."""
    answer_type, choices = _kind(row)
    if choices:
        options = lettered(choices)
        letter = extract_choice(text, options)
        return None if letter is None else options[letter]
    read = partial(_read_free, row, answer_type)
    return reconsidered(spoken(text), read, read, lambda turn: set(_NUMBER.findall(turn)))


def _read_free(row: Row, answer_type: str, text: str) -> str | None:
    """The answer of a free-form question."""
    stated = stated_answer(text)
    stated = last_boxed(text) if stated is None else stated
    if answer_type == "list":
        lists = set(_affirmed(_LIST, clean(text if stated is None else stated)))
        return lists.pop() if len(lists) == 1 else None
    said = joined_thousands(_short(text) if stated is None else stated)
    if said.startswith("not "):
        return None
    number = _number(said)
    if number is None:
        number = _concluded(text) if stated is None else _number(_REASON.split(said, maxsplit=1)[0])
    if number is None:
        return None
    if answer_type == "integer":
        return str(int(number)) if number == int(number) else str(number)
    return normalise(row, str(number))


def _short(text: str) -> str:
    """Where the number may stand: in a first line that is nothing else, or anywhere if it is the last line's, too."""
    first, several, _ = text.strip().partition("\n")
    last = last_line(text)
    if _NUMBER.fullmatch(clean(first)):
        return clean(first)
    return "" if several and (is_item(last) or not _NUMBER.search(last)) else clean(text)


def _number(text: str) -> float | None:
    """The number after the last "=", else the only one of the text."""
    _, equals, right = text.rpartition("=")
    if equals and _CALCULATION.search(right.replace("**", "")):
        return None
    return _only(_affirmed(_NUMBER, right if equals else text))


def _concluded(text: str) -> float | None:
    """The number in which the last line ends: "So there are 2 + 5 and their number is 7 apples."."""
    line = clean(text.strip().rpartition("\n")[2])
    found = list(_CONCLUSION.finditer(line))
    if not found or not _NO_MORE.fullmatch(line, found[-1].end()) or any(is_denied(line, m.start(1)) for m in found):
        return None
    return _only([match.group(1) for match in found])


def _only(numbers: Sequence[str]) -> float | None:
    """The value, if all of them have the same and it isn't too large."""
    values = {float(number.replace(",", "")) for number in numbers}
    value = values.pop() if len(values) == 1 else None
    return value if value is not None and abs(value) < float("inf") else None


def _affirmed(pattern: re.Pattern[str], text: str) -> list[str]:
    """All that the pattern finds; nothing if any of it is denied."""
    found = list(pattern.finditer(text))
    return [] if any(is_denied(text, match.start()) for match in found) else [match.group() for match in found]


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer. Under ``official``, with no judge: settled answers by rule, the others wait for the judge."""
    if protocol == "official":
        return score_judged(row, prediction, (), doc_id)
    details = {"answer_type": text_of(row, "answer_type")}
    gold = text_of(row, "answer").strip()
    if is_empty(prediction):
        _kind(row)
        return empty(details)
    answer = _strict(row, prediction)
    same = answer is not None and "".join(answer.split()) == "".join(gold.split())
    return verdict(same, answer, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions, and by answer type."""
    return accuracy_by(scores, "answer_type")


SCORERS = {
    "mathvista": Scorer(
        "mathvista",
        ("choices", "answer", "question_type", "answer_type", "precision"),
        score,
        aggregate,
        {"official": "accuracy", "strict": "accuracy"},
        optional=("query",),
        identity="pid",
        judge=Judge("gpt-4o", next_call, score_judged, takes_extractions=True),
    )
}
