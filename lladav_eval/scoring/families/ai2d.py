"""AI2D.

The benchmark has no script for lettered answers; official here is the LLaDA-V authors' rule (ai2d/utils.py of their
fork of lmms-eval): "X." at the start gives X, else the whole answer must be the letter, case and punctuation aside; a
space between the two counts ("C %" is no answer).
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, empty, lettered, list_of, percent, text_of, verdict

_START = re.compile(r"\s*([A-Z])\.")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer; the row's answer is the right option's number, from 0."""
    options = lettered(list_of(row, "options"))
    number = text_of(row, "answer").strip()
    if not number.isascii() or not number.isdigit() or int(number) >= len(options):
        raise TaskError(f"the answer {number!r} is outside the options 0 to {len(options) - 1}")
    gold = tuple(options)[int(number)]
    if is_empty(prediction):
        return empty()
    if protocol == "strict":
        letter = extract_choice(prediction, options)
        return verdict(letter == gold, letter)
    start = _START.match(prediction)
    said = (start.group(1) if start else prediction.strip()).translate(_NO_PUNCTUATION).upper()
    return verdict(said == gold, said if said in options else None)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions."""
    return {"accuracy": percent(scores)}


SCORERS = {
    "ai2d": Scorer("ai2d", ("options", "answer"), score, aggregate, {"official": "accuracy", "strict": "accuracy"})
}
