"""POPE.

Official source: AoiDragon/POPE, evaluate.py: of the first sentence (up to the first full stop, commas dropped) any of
the words No, not, no means no; everything else is yes. F1 of "yes" and the ratio of "yes" are computed per split
(adversarial, popular, random), the published figure is the mean of the three. An empty answer, which the script would
count as yes, is the wrong one here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Memory, Protocol, Row, empty, percent, text_of, verdict
from lladav_eval.scoring.yes_no import extract_yes_no

_NO = frozenset(("No", "not", "no"))
_SPLITS = ("adversarial", "popular", "random")

_known = Memory()


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    try:
        return _known[row["answer"], row["category"], prediction, protocol]
    except (KeyError, TypeError):  # not seen yet, or a row that doesn't fit
        return _score(text_of(row, "answer"), text_of(row, "category"), prediction, protocol)


def _score(answer: str, category: str, text: str, protocol: Protocol) -> Score:
    gold = answer.strip().lower()
    if gold not in ("yes", "no"):
        raise TaskError(f"the answer {answer!r} must be yes or no")
    if category not in _SPLITS:  # VLMEvalKit has "random,popular" and the like: a question for several of them
        raise TaskError(f"the category {category!r} is none of POPE's: {', '.join(_SPLITS)}")
    details = {"split": category, "gold": gold}
    if not text.strip():
        judged = empty(details)
    elif protocol == "strict":
        said = extract_yes_no(text)
        judged = verdict(said == gold, said, details)
    else:
        words = text.partition(".")[0].replace(",", "").split(" ")
        said = "yes" if _NO.isdisjoint(words) else "no"
        judged = verdict(said == gold, said, details)
    return _known.keep((answer, category, text, protocol), judged)


def _said_yes(item: Score) -> bool:
    """What counts as said: the answer read, or the wrong one where nothing was."""
    return item.extracted == "yes" if item.extracted is not None else item.details["gold"] == "no"


def _figures(scores: Iterable[Score]) -> dict[str, float]:
    pairs = [(_said_yes(item), item.details["gold"] == "yes") for item in scores]
    said, gold = sum(yes for yes, _ in pairs), sum(yes for _, yes in pairs)
    hits = sum(yes and right for yes, right in pairs)
    precision, recall = hits / said if said else 0.0, hits / gold if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall, "yes_ratio": 100 * said / len(pairs)}


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """``f1_mean`` over the splits; accuracy over all; F1, precision, recall and ratio of yes per split."""
    accuracy = percent(scores)
    splits: dict[str, list[Score]] = {}
    for item in scores:
        splits.setdefault(item.details["split"], []).append(item)
    figures = {split: _figures(members) for split, members in splits.items()}
    mean = sum(each["f1"] for each in figures.values()) / len(figures)
    flat = {f"{name}_{split}": value for split, each in figures.items() for name, value in each.items()}
    return {"f1_mean": mean, "accuracy": accuracy, **flat}


def shares(scores: Sequence[Score]) -> list[float]:
    """Each answer's share in ``f1_mean``, to first order (the infinitesimal jackknife): F1 is no sum over answers.

    With hits h, false alarms f and misses m a split's F1 is 2 h / (2 h + f + m). An answer's share is ``f1_mean`` plus
    how much F1 would move if the answer weighed more. These moves add up to nothing, so that the mean is right.
    """
    terms = [_f1_terms(item) for item in scores]
    totals: dict[str, tuple[float, float]] = {}
    for item, (above, below) in zip(scores, terms, strict=True):
        before = totals.get(item.details["split"], (0.0, 0.0))
        totals[item.details["split"]] = before[0] + above, before[1] + below
    f1 = {split: above / below if below else 0.0 for split, (above, below) in totals.items()}
    mean = sum(f1.values()) / len(f1)

    def moved(split: str, above: float, below: float) -> float:
        total = totals[split][1]
        return (above - f1[split] * below) / total if total else 0.0

    weight = len(scores) / len(f1)
    return [mean + weight * moved(item.details["split"], *term) for item, term in zip(scores, terms, strict=True)]


def _f1_terms(item: Score) -> tuple[int, int]:
    """What an answer adds above and below the line of F1."""
    said, gold = _said_yes(item), item.details["gold"] == "yes"
    return 2 * (said and gold), said + gold


SCORERS = {
    "pope": Scorer(
        "pope",
        ("answer", "category"),
        score,
        aggregate,
        {"official": "f1_mean", "strict": "f1_mean"},
        shares,
        identity="id",
    )
}
