"""MuirBench.

Official source: muirbench/MuirBench, eval/utils/postprocess.py, which is MMMU's parser with its random guess. (The
authors' fork of lmms-eval takes "X." at the start, else the whole text; both agree on a plain letter.)
"""

from __future__ import annotations

from collections.abc import Sequence

from lladav_eval.records import Score
from lladav_eval.scoring.families.mmmu import score_options
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, accuracy_by, text_of


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer; a guess is drawn from the row's idx, or its question where it has none."""
    identity = row.get("idx")
    identity = text_of(row, "question") if identity is None else identity
    details = {"task": text_of(row, "task")}
    return score_options("muirbench", row, prediction, protocol, str(identity), details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions, and by task."""
    return accuracy_by(scores, "task")


SCORERS = {
    "muirbench": Scorer(
        "muirbench",
        ("options", "answer", "task"),
        score,
        aggregate,
        {"official": "accuracy", "strict": "accuracy"},
        optional=("idx", "question"),
    )
}
