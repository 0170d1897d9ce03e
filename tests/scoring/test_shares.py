"""A sample's share in a figure that is no mean of samples: all shares together are the figure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from example_rows import ROWS

from lladav_eval.records import Score
from lladav_eval.scoring.families.mlvu import TASKS
from lladav_eval.scoring.registry import FAMILIES, Scorer, get_scorer

WITH_SHARES = [name for name in FAMILIES if get_scorer(name).shares is not None]


def rows_of(family: str) -> list[tuple[dict[str, Any], str]]:
    """Groups of different sizes, with the right answer of each row."""
    if family == "mme":
        places = [("color", picture) for picture in "abc"] + [("count", "d"), ("code_reasoning", "e")]
        rows = [{"question_id": picture, "category": category, "answer": "Yes"} for category, picture in places * 2]
    elif family == "mlvu":
        rows = [{**ROWS[family], "task_type": task} for task in (*TASKS[:3], TASKS[0], TASKS[0], TASKS[1])]
    elif family == "pope":
        splits = ("random", "popular", "popular")
        rows = [{"category": split, "answer": answer} for split in splits for answer in ("yes", "no", "yes")]
        rows.append({"category": "adversarial", "answer": "no"})  # a split without a yes
    else:
        rows = [{**ROWS[family], "index": index} for index in (1, 2, 1_000_001, 3, 2_000_001, 1_000_003)]
    return [(row, str(row["answer"])) for row in rows]


def answered(family: str, generator: random.Random, chance: float) -> list[Score]:
    scorer = get_scorer(family)
    wrong = {"yes": "no", "no": "yes", "Yes": "No", "B": "A"}
    return [
        scorer.score(row, generator.choice((wrong[right], "")) if generator.random() > chance else right, "strict", 0)
        for row, right in rows_of(family)
    ]


def headline(scorer: Scorer, scores: Sequence[Score]) -> float:
    return scorer.aggregate(scores)[scorer.headline["strict"]] / (1 if scorer.points else 100)


@pytest.mark.parametrize("chance", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("family", WITH_SHARES)
def test_the_mean_of_the_shares_is_the_figure(family: str, chance: float) -> None:
    scorer, generator = get_scorer(family), random.Random(0)
    assert scorer.shares is not None
    for _ in range(20):
        scores = answered(family, generator, chance)
        shares = scorer.shares(scores)
        assert len(shares) == len(scores)
        assert sum(shares) / len(shares) == pytest.approx(headline(scorer, scores))


@pytest.mark.parametrize(
    ("family", "details", "values", "shares"),
    [
        ("mme", [{"category": "color", "picture": picture} for picture in "aabb"], [1, 1, 1, 0], [200, 200, 50, 50]),
        ("mlvu", [{"task": task} for task in ("ego", "ego", "count")], [1, 0, 1], [0.75, 0, 1.5]),
        ("mmbench", [{"index": index} for index in (1, 1_000_001, 2)], [1, 0, 1], [0, 0, 1.5]),
    ],
)
def test_shares_by_hand(family: str, details: list[dict[str, Any]], values: list[float], shares: list[float]) -> None:
    scores = [Score(value, "x", "scored", detail) for value, detail in zip(values, details, strict=True)]
    scorer = get_scorer(family)
    assert scorer.shares is not None
    assert scorer.shares(scores) == pytest.approx(shares)


def test_pope_s_shares_say_how_f1_moves_where_an_answer_weighs_more() -> None:
    """F1 of a sample in which every answer occurs 5,000 times and one of them once more."""
    scorer, times = get_scorer("pope"), 5000
    assert scorer.shares is not None
    scores = answered("pope", random.Random(2), 0.6)
    before = headline(scorer, scores)
    assert 0 < before < 1
    for item, share in zip(scores, scorer.shares(scores), strict=True):
        moved = headline(scorer, [*scores * times, item]) - before
        assert moved * times * len(scores) == pytest.approx(share - before, abs=1e-3)
