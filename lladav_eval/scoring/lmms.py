"""What the benchmarks' YAML calls: one answer -> items of the metrics ``official`` and ``strict``, items -> figures.

For every family F of the registry there are ``F_results``, ``F_official`` and ``F_strict``. Both protocols are scored
from the same answer. Where the headline is a mean, an item is the sample's value (0..1); otherwise it is a mapping
that the aggregation reads. Figures are fractions, except MME's points; plain lmms-eval works with them as they are.

Beside the metrics stand ``status`` and ``extracted`` (strict), ``official_status`` and ``official_extracted``,
``scores``, of which the benchmark's other figures are made, and ``needs_judge``: true where the official item is 0 only
because no judge's reply is at hand, so that the official figure isn't filled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.judging import is_unsettled
from lladav_eval.scoring.registry import FAMILIES, Scorer, get_scorer
from lladav_eval.scoring.rows import Protocol, Row


def results(family: str, doc: Row, responses: Sequence[str], judge_replies: Sequence[str] = ()) -> dict[str, Any]:
    """Score one answer under both protocols.

    Args:
        judge_replies: what the family's judge said about this answer so far, if it has one.
    """
    scorer = get_scorer(family)
    text = str(responses[0])
    # lmms-eval doesn't pass a row's position, so that no score may depend on it: 0 stands for any.
    strict = scorer.score(doc, text, "strict", 0)
    if scorer.judge is not None and judge_replies:
        official = scorer.judge.score(doc, text, judge_replies, 0)
    else:
        official = scorer.score(doc, text, "official", 0)
    return {
        "official": _item(scorer, official),
        "strict": _item(scorer, strict),
        "status": strict.status,
        "extracted": strict.extracted,
        "official_status": official.status,
        "official_extracted": official.extracted,
        "needs_judge": is_unsettled(official),
        "scores": {"official": _plain(official), "strict": _plain(strict)},
    }


def _item(scorer: Scorer, score: Score) -> Any:
    return score.value if scorer.shares is None else _plain(score)


def _plain(score: Score) -> dict[str, Any]:
    return {"value": score.value, "extracted": score.extracted, "status": score.status, "details": score.details}


def figure(family: str, protocol: Protocol, items: Sequence[Any]) -> float:
    """The headline of all samples, as a fraction (MME: its points). Raises TaskError if there is none."""
    scorer = get_scorer(family)
    if not items:
        raise TaskError(f"{family}: there is no sample to aggregate")
    if scorer.shares is None:
        return sum(items) / len(items)
    value = scorer.aggregate([_score(item) for item in items])[scorer.headline[protocol]]
    return value if scorer.points else value / 100


def figures(family: str, scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """All figures that the benchmark knows, on 0-100 (MME: points), of the ``scores`` of one protocol."""
    return get_scorer(family).aggregate([_score(score) for score in scores])


def shares_of(family: str | None, items: Sequence[Any], perfect: bool = False) -> list[float] | None:
    """Each sample's share in ``figure``, of which it is the mean.

    ``perfect``: as if every answer were right. None where the figure is the mean of the items themselves, and of items
    that aren't the family's.
    """
    shares = get_scorer(family).shares if family in FAMILIES else None
    if shares is None or not all(map(is_mapping_item, items)):
        return None
    scores = [_score(item) for item in items]
    return shares([replace(score, value=1.0) for score in scores] if perfect else scores)


def is_mapping_item(item: Any) -> bool:
    """Whether the item is one that ``results`` made for an aggregation that is no mean."""
    return isinstance(item, Mapping) and item.keys() == {"value", "extracted", "status", "details"}


def _score(item: Mapping[str, Any]) -> Score:
    return Score(item["value"], item["extracted"], item["status"], item["details"])


def __getattr__(name: str) -> Callable[..., Any]:
    """``mmmu_results``, ``mmmu_official``, ``mmmu_strict`` and so on for every family."""
    family, _, kind = name.rpartition("_")
    if family in FAMILIES and kind == "results":
        return _results_of(family)
    if family in FAMILIES and kind in ("official", "strict"):
        return _figure_of(family, "official" if kind == "official" else "strict")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Functions rather than partials: lmms-eval writes a function's source into its records, a partial's address otherwise.
@cache
def _results_of(family: str) -> Callable[[Row, Sequence[str]], dict[str, Any]]:
    def process_results(doc: Row, responses: Sequence[str]) -> dict[str, Any]:
        return results(family, doc, responses)

    return process_results


@cache
def _figure_of(family: str, protocol: Protocol) -> Callable[[Sequence[Any]], float]:
    def aggregation(items: Sequence[Any]) -> float:
        return figure(family, protocol, items)

    return aggregation
