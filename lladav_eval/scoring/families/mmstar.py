"""MMStar.

Official source: MMStar-Benchmark/MMStar, eval/vlmeval/evaluate/mmstar.py: the answer must begin with the letter
("A", "(A", "option A", "the answer is A"; any case), and the score is the mean over all questions. lmms-eval averages
18 sub-categories of different sizes instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, accuracy_by, empty, options_in, text_of, verdict

_PREFIX = re.compile(r"(?:\(|option |the answer is )?([a-d])")
_LETTERS = "ABCD"


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    return _score(
        text_of(row, "question"), text_of(row, "answer").strip(), text_of(row, "category"), prediction, protocol
    )


@lru_cache(maxsize=64)
def _options(question: str) -> Mapping[str, str] | str:
    """What the letters stand for, where the question lists all four in a way that can be read."""
    return options_in(question, _LETTERS) or _LETTERS


def _score(question: str, answer: str, category: str, text: str, protocol: Protocol) -> Score:
    gold = answer.upper()
    if gold not in tuple(_LETTERS):
        raise TaskError(f"the answer {answer!r} is outside the options {_LETTERS}")
    details = {"category": category}
    if is_empty(text):
        return empty(details)
    if protocol == "strict":
        letter = extract_choice(text, _options(question))
    else:
        # Of "(", "option " and "the answer is " the shorter form wins: "a" alone is read before any of them.
        plain = text.lower().strip().replace("\n", " ")
        match = _PREFIX.match(plain)
        letter = match.group(1).upper() if match else None
    return verdict(letter == gold, letter, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions, and by category."""
    return accuracy_by(scores, "category")


SCORERS = {
    "mmstar": Scorer(
        "mmstar",
        ("question", "answer", "category"),
        score,
        aggregate,
        {"official": "accuracy", "strict": "accuracy"},
        identity="index",
    )
}
