"""SEED-Bench (the first), image and video part.

Official source: AILab-CVC/SEED-Bench, eval.py: a stored letter equals the right one. Generated text is read as the
authors' fork of lmms-eval does, by its first character (any case), with one difference: a bracket before the letter is
passed over, so that "(A)" isn't lost. Ids of questions are not unique in this benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Memory, Protocol, Row, empty, percent, percent_by, text_of, verdict

_CHOICES = {"A": "choice_a", "B": "choice_b", "C": "choice_c", "D": "choice_d"}


_known = Memory()


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    try:
        return _known[row["answer"], row["data_type"], prediction, protocol]
    except (KeyError, TypeError):  # not seen yet, or a row that doesn't fit
        return _score(row, prediction, protocol)


def _score(row: Row, prediction: str, protocol: Protocol) -> Score:
    answer, part, text = text_of(row, "answer"), text_of(row, "data_type"), prediction.strip()
    gold = answer.strip().upper()
    if gold not in _CHOICES:
        raise TaskError(f"the answer {answer!r} is outside the options ABCD")
    if part not in ("image", "video"):
        raise TaskError(f"the data_type must be 'image' or 'video', not {part!r}")
    key, details = (answer, part, prediction, protocol), {"part": part}
    if not text:
        return _known.keep(key, empty(details))
    if protocol == "official":
        first = text.removeprefix("(").lstrip()[:1].upper()
        return _known.keep(key, verdict(first == gold, first if first in _CHOICES else None, details))
    letter = extract_choice(text, "ABCD")
    if letter is not None:
        return _known.keep(key, verdict(letter == gold, letter, details))
    # What the choices of this very row say is not to be remembered for another one.
    contents = {name: str(row[column]) for name, column in _CHOICES.items() if row.get(column) is not None}
    letter = extract_choice(text, contents) if contents else None
    return verdict(letter == gold, letter, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """``all``, and ``image`` and ``video`` as far as they are there."""
    return {"all": percent(scores), **percent_by(scores, "part")}


SCORERS = {
    "seedbench": Scorer(
        "seedbench",
        ("answer", "data_type"),
        score,
        aggregate,
        {"official": "all", "strict": "all"},
        optional=tuple(_CHOICES.values()),
        named="question_id",
    )
}
