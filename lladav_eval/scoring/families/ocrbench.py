"""OCRBench (the first).

Official source: Yuliang-Liu/MultimodalOCR, OCRBench/example.py: an answer is right if it contains a right text, in any
case; for handwritten formulas (HME100k) with all spaces removed and case kept. (lmms-eval folds full-width characters
first.) The figure is the number of right answers of 1000.
"""

from __future__ import annotations

from collections.abc import Sequence

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.extract import clean, final_text, is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, empty, list_of, percent, percent_by, text_of, verdict

_FORMULAS = "HME100k"


def _official(text: str, formulas: bool) -> str:
    text = text.strip().replace("\n", " ")
    return text.replace(" ", "") if formulas else text.lower()


def _strict(text: str, formulas: bool) -> str:
    text = clean(text)
    return "".join(text.split()) if formulas else text.casefold()


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer. Under ``strict`` the answer, or what follows an answer cue in it, must be a right text as a whole."""
    formulas = text_of(row, "dataset") == _FORMULAS
    answers = [row["answer"]] if isinstance(row.get("answer"), str) else list_of(row, "answer")
    if not answers:
        raise TaskError("the column 'answer' must hold at least one text")
    details = {"type": text_of(row, "question_type")}
    if is_empty(prediction):
        return empty(details)
    if protocol == "official":
        said = _official(prediction, formulas)
        return verdict(any(_official(answer, formulas) in said for answer in answers), said, details)
    said = _strict(prediction, formulas)
    tail = _strict(final_text(prediction), formulas)
    wanted = {_strict(answer, formulas) for answer in answers}
    return verdict(said in wanted or tail in wanted, tail or said or None, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """``accuracy`` on 0-100, the number of ``correct`` answers, and accuracy by type of question."""
    return {
        "accuracy": percent(scores),
        "correct": sum(score.value for score in scores),
        **{f"accuracy_{name}": value for name, value in percent_by(scores, "type").items()},
    }


SCORERS = {
    "ocrbench": Scorer(
        "ocrbench",
        ("dataset", "question_type", "answer"),
        score,
        aggregate,
        {"official": "accuracy", "strict": "accuracy"},
    )
}
