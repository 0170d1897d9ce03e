"""DocVQA and InfographicVQA: average normalised Levenshtein similarity (ANLS).

Official sources: the evaluation script of the Robust Reading Competition, which compares lower-case text with
collapsed white space but divides by the longer length *before* that; and the LLaDA-V authors' docvqa/utils.py, whose
prompt asks for a reason and then "Answer: X" and which scores what stands behind the last colon: X, but of "10:30 AM"
only "30 AM". The authors score an answer without "Answer:" as the
text "None"; here such a text goes to the script as it is, so that answers to other prompts can be scored too, and
``anls_authors`` gives the authors' figure beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.distance import levenshtein
from lladav_eval.scoring.extract import clean, concluded_answer, final_text, is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, empty, list_of, percent, verdict

THRESHOLD = 0.5
"""Similarities below it count 0."""


def _collapse(text: str) -> str:
    return " ".join(text.lower().split())


def similarity(text: str, answers: Sequence[str], normalised_length: bool) -> float:
    """The best similarity to any right answer, 0 below the threshold.

    Args:
        normalised_length: divide by the longer of the compared texts (the paper's definition, used by ``strict``);
            False divides by the longer of the raw ones (the script).
    """
    said = _collapse(text)
    best = 0.0
    for answer in answers:
        wanted = _collapse(answer)
        pair = (wanted, said) if normalised_length else (answer.upper(), text.upper())
        length = max(map(len, pair))
        # The distance is at least the difference in length: no need to compute one that stays below the threshold.
        if length and 1 - abs(len(wanted) - len(said)) / length < max(best, THRESHOLD):
            continue
        best = max(best, 1 - levenshtein(wanted, said) / length if length else 1.0)
    return best if best >= THRESHOLD else 0.0


def read_answer(text: str) -> str | None:
    """What stands behind the last colon, if there is an "Answer:", as the authors read it; None without that cue."""
    text = text.replace("*", "")
    place = text.rfind("Answer:")
    return None if place < 0 else text[place:].strip().split(":")[-1].strip().strip("., ")


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer; the value is its similarity, 0..1."""
    answers = list_of(row, "answers")
    if not answers:
        raise TaskError("the column 'answers' must hold at least one answer")
    if is_empty(prediction):
        return empty({"authors": 0.0})
    if protocol == "strict":
        # A right answer may itself end in a full stop or hold a typographic dash, or a cue like "Answer:".
        wanted = [*answers, *map(clean, answers)]
        whole, final = clean(prediction), final_text(prediction)
        # Of a sentence the answer is what it says something is, unless the sentence itself is nearer to a right one.
        readings = (whole,) if _collapse(whole) in map(_collapse, wanted) else (concluded_answer(final) or final, final)
        value, text = max(
            ((similarity(text, wanted, normalised_length=True), text) for text in readings), key=itemgetter(0)
        )
        return verdict(value, text or None)
    read = read_answer(prediction)
    text = prediction if read is None else read
    value = similarity(text, answers, normalised_length=False)
    authors = similarity("None", answers, normalised_length=False) if read is None else value
    return verdict(value, text, {"authors": authors})


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """``anls`` on 0-100; under ``official`` also ``anls_authors``."""
    metrics = {"anls": percent(scores)}
    if any("authors" in item.details for item in scores):
        metrics["anls_authors"] = 100 * sum(item.details.get("authors", 0.0) for item in scores) / len(scores)
    return metrics


SCORERS = {
    family: Scorer(
        family, ("answers",), score, aggregate, {"official": "anls", "strict": "anls"}, identity="questionId"
    )
    for family in ("docvqa", "infovqa")
}
