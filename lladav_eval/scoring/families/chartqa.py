"""ChartQA.

Official source: Pix2Struct's relaxed_correctness(target, prediction), as in lmms-eval: numbers within 5 % of the
target, else the same text in any case. (VLMEvalKit hands it the two the other way round, which divides by the
prediction.) Nothing is trimmed, and a target of 0 is compared as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from lladav_eval.records import Score
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.relaxed import TOLERANCE, extract_value, relaxed_match
from lladav_eval.scoring.rows import Protocol, Row, empty, percent, percent_by, text_of, verdict


def _number(text: str) -> float | None:
    """A number, per cents as fractions; None for other text."""
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def official_match(text: str, target: str) -> bool:
    """The published rule, to the letter."""
    answer, wanted = _number(text), _number(target)
    if answer is not None and wanted:
        return abs(answer - wanted) / abs(wanted) <= TOLERANCE
    return text.lower() == target.lower()


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    target = text_of(row, "answer")
    details = {"part": "human" if text_of(row, "type") == "human_test" else "augmented"}
    if is_empty(prediction):
        return empty(details)
    if protocol == "official":
        return verdict(official_match(prediction, target), prediction, details)
    return verdict(relaxed_match(prediction, target), extract_value(prediction, target), details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """``overall``, and ``human`` and ``augmented`` as far as they are there."""
    return {"overall": percent(scores), **percent_by(scores, "part")}


SCORERS = {
    "chartqa": Scorer("chartqa", ("type", "answer"), score, aggregate, {"official": "overall", "strict": "overall"})
}
