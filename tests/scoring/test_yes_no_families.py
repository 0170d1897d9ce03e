"""Yes and no: POPE's first sentence, MME's first four characters, and the strict reading of both."""

from __future__ import annotations

import pytest
from example_rows import ROWS

from lladav_eval.errors import TaskError
from lladav_eval.scoring.registry import get_scorer


@pytest.mark.parametrize(
    ("text", "pope", "mme", "strict"),
    [
        ("Yes", "yes", "yes", "yes"),
        ("yes.", "yes", "yes", "yes"),
        ("No", "no", "no", "no"),
        ("no, it isn't", "no", "no", "no"),
        ("NO", "yes", "no", "no"),
        ("Yes, there is no doubt.", "no", "yes", "yes"),
        ("There is not.", "no", None, None),
        ("I think so. No.", "yes", None, "no"),
        ("No.", "no", "no", "no"),
        ("No\n", "yes", "no", "no"),
        ("Not sure", "yes", "no", None),
        ("nothing", "yes", "no", None),
        ("The answer is yes", "yes", None, "yes"),
        ("Answer: No", "no", None, "no"),
        ("(yes)", "yes", "yes", "yes"),
        ("know", "yes", "no", None),
        ("maybe", "yes", None, None),
        ("y", "yes", None, None),
        ("yes or no", "no", "yes", None),
        ("ｙｅｓ", "yes", None, "yes"),
    ],
)
def test_what_is_read(text: str, pope: str, mme: str | None, strict: str | None) -> None:
    assert get_scorer("pope").score(ROWS["pope"], text, "official", 0).extracted == pope
    assert get_scorer("mme").score(ROWS["mme"], text, "official", 0).extracted == mme
    for family in ("pope", "mme"):
        assert get_scorer(family).score(ROWS[family], text, "strict", 0).extracted == strict


def test_pope_figures_per_split() -> None:
    scorer = get_scorer("pope")
    said = [("yes", "Yes"), ("yes", "No"), ("no", "Yes"), ("no", "No"), ("no", "")]
    rows = [({"answer": gold, "category": split}, text) for split in ("random", "popular") for gold, text in said]
    metrics = scorer.aggregate([scorer.score(row, text, "official", 0) for row, text in rows])
    # the empty answer counts as the wrong "yes": 1 hit of 3 said, 1 of 2 there
    assert metrics["precision_random"] == pytest.approx(100 / 3)
    assert metrics["recall_random"] == 50
    assert metrics["f1_mean"] == pytest.approx(40)
    assert metrics["yes_ratio_popular"] == 60
    assert metrics["accuracy"] == 40


def test_pope_figures_where_nobody_says_or_asks_for_yes() -> None:
    scorer = get_scorer("pope")
    for gold, text, yes_ratio in (("yes", "No", 0), ("no", "Yes", 100), ("no", "No", 0)):
        row = {"answer": gold, "category": "random"}
        metrics = scorer.aggregate([scorer.score(row, text, "official", 0)] * 3)
        assert metrics["precision_random"] == metrics["recall_random"] == metrics["f1_random"] == 0
        assert metrics["yes_ratio_random"] == yes_ratio


def test_mme_sums() -> None:
    scorer = get_scorer("mme")
    answers = [
        ("a", "color", "Yes"),
        ("a", "color", "Yes"),
        ("b", "color", "Yes"),
        ("b", "color", "No"),
        ("c", "count", ""),
    ]
    scores = [
        scorer.score({"question_id": picture, "answer": "Yes", "category": category}, text, "official", 0)
        for picture, category, text in [
            *answers,
            ("c", "count", "no"),
            ("d", "code_reasoning", "yes"),
            ("d", "code_reasoning", "y"),
        ]
    ]
    metrics = scorer.aggregate(scores)
    assert metrics["color"] == 75 + 50
    assert metrics["count"] == 0
    assert metrics["perception"] == 125
    assert metrics["cognition"] == 50
    assert metrics["total"] == 175


def test_mme_wants_two_questions_a_picture() -> None:
    scorer = get_scorer("mme")
    with pytest.raises(TaskError, match="two questions a picture"):
        scorer.aggregate([scorer.score(ROWS["mme"], "yes", "official", 0)])
