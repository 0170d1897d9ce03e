"""Video-MME (without subtitles).

Official source: eval_your_results.py of Video-MME: some introductions are cut out of the answer, then its first capital
A to D counts. Two pairs of introductions lack a comma in the script and are never cut out ("Best answer: C" gives B);
so here. The script leaves answers without a letter out of the denominator; here they are wrong and counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, accuracy_by, empty, gold_letter, list_of, text_of, verdict

_INTRODUCTIONS = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
)
_LETTER = re.compile("[ABCD]")
_LABEL = re.compile(r"\s*[A-D][.)]\s*")


def official_letter(text: str) -> str | None:
    """The first capital A to D once the introductions are cut out."""
    text = text.strip()
    for introduction in _INTRODUCTIONS:
        text = text.replace(introduction, "")
    found = _LETTER.search(text)
    return found.group() if found else None


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    details = {"duration": text_of(row, "duration")}
    gold = gold_letter(row, "ABCD")
    if is_empty(prediction):
        return empty(details)
    if protocol == "official":
        letter = official_letter(prediction)
    else:
        texts = [_LABEL.sub("", option, count=1) for option in list_of(row, "options")]
        letter = extract_choice(prediction, dict(zip("ABCD", texts, strict=False)))
    return verdict(letter == gold, letter, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions, and for short, medium and long videos."""
    return accuracy_by(scores, "duration")


SCORERS = {
    "videomme": Scorer(
        "videomme",
        ("question_id", "options", "answer", "duration"),
        score,
        aggregate,
        {"official": "accuracy", "strict": "accuracy"},
        identity="question_id",
    )
}
