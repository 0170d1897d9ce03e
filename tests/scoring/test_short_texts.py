"""Short texts: ANLS of DocVQA and InfographicVQA, and OCRBench's substrings."""

from __future__ import annotations

import pytest

from lladav_eval.scoring.families.anls import read_answer, similarity
from lladav_eval.scoring.registry import get_scorer


@pytest.mark.parametrize(
    ("text", "answers", "official", "strict"),
    [
        ("dark blue", ["dark blue"], 1.0, 1.0),
        ("Dark  Blue", ["dark blue"], 1.0, 1.0),
        ("dark blu", ["dark blue"], 8 / 9, 8 / 9),
        ("green", ["dark blue"], 0.0, 0.0),
        ("abcd", ["abxy"], 0.5, 0.5),
        ("abcd", ["axyz"], 0.0, 0.0),
        ("dark blue", ["red", "dark blue"], 1.0, 1.0),
        ("dark blux ", ["dark blue"], 0.9, 8 / 9),  # the script divides by the raw length
        ("1,234", ["1,234"], 1.0, 1.0),
        ("First I read it. Answer: dark blue.", ["dark blue"], 1.0, 1.0),
        ("**Answer: dark blue**", ["dark blue"], 1.0, 1.0),
        ("Answer: 12:30", ["12:30"], 0.0, 1.0),  # the authors take what follows the last colon
        ("Answer:", ["dark blue"], 0.0, 0.0),
        ("12%", ["12%"], 1.0, 1.0),
        ("yes.", ["yes"], 0.75, 1.0),
        ("Question and Answer - FAQ", ["question and answer - FAQ"], 1.0, 1.0),
        ("I choose life", ["I choose life"], 1.0, 1.0),
        ("The name of the colour is dark blue.", ["dark blue"], 0.0, 1.0),
        ('The title is "Dark Blue."', ["dark blue"], 0.0, 1.0),
        ("The colour isn't dark blue.", ["dark blue"], 0.0, 0.0),
        ("The colour is not dark blue.", ["dark blue"], 0.0, 0.0),
        ("Red is on top and dark blue is below.", ["below"], 0.0, 0.0),
        ("This side is for adress", ["THIS SIDE IS FOR ADDRESS"], 23 / 24, 23 / 24),  # a sentence is asked for
    ],
)
def test_anls(text: str, answers: list[str], official: float, strict: float) -> None:
    score = get_scorer("docvqa").score
    assert score({"answers": answers}, text, "official", 0).value == pytest.approx(official)
    assert score({"answers": answers}, text, "strict", 0).value == pytest.approx(strict)


def test_what_is_shown_is_the_reading_that_counts() -> None:
    score = get_scorer("docvqa").score
    for gold, said in (
        ("dark blue", "dark blue"),
        ("the sky is dark blu", "The sky is dark blue"),
        ("red", "dark blue"),
    ):
        assert score({"answers": [gold]}, "The sky is dark blue.", "strict", 0).extracted == said


def test_the_authors_score_a_text_without_the_cue_as_none() -> None:
    scorer = get_scorer("docvqa")
    scores = [scorer.score({"answers": [gold]}, "red", "official", 0) for gold in ("red", "none")]
    assert [score.value for score in scores] == [1.0, 0.0]
    assert [score.details["authors"] for score in scores] == [0.0, 1.0]
    metrics = scorer.aggregate(scores)
    assert metrics["anls"] == 50
    assert metrics["anls_authors"] == 50
    assert read_answer("red") is None
    assert read_answer("so *Answer: red.*") == "red"


def test_padding_counts_in_the_script_s_length_only() -> None:
    assert similarity("  dark blux  ", ["dark blue"], normalised_length=False) == pytest.approx(1 - 1 / 13)
    assert similarity("  dark blux  ", ["dark blue"], normalised_length=True) == pytest.approx(1 - 1 / 9)


def test_nothing_is_like_nothing() -> None:
    assert similarity(" ", [""], normalised_length=True) == 1


def ocr(text: str, answers: list[str] | str, protocol: str, dataset: str = "svt") -> bool:
    row = {"dataset": dataset, "question_type": "Regular Text Recognition", "answer": answers}
    return get_scorer("ocrbench").score(row, text, protocol, 0).value == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "answers", "dataset", "official", "strict"),
    [
        ("Centre", ["CENTRE"], "svt", True, True),
        ('the word "Centre" is written', ["CENTRE"], "svt", True, False),
        ("The answer is Centre.", ["CENTRE"], "svt", True, True),
        ("centres", ["CENTRE"], "svt", True, False),
        ("two\nlines", ["two lines"], "svt", True, True),
        ("Ｃentre", ["Centre"], "svt", False, True),
        ("x ^ { 2 }", ["x^{2}"], "HME100k", True, True),
        ("X ^ { 2 }", ["x^{2}"], "HME100k", False, False),
        ("x ^ 2", ["x^2"], "svt", False, False),
        ("centre", "CENTRE", "svt", True, True),
        ("theatre", ["centre", "theatre"], "svt", True, True),
        ("centre", ["CENTRE."], "svt", False, True),
        ("it's", ["it\u2019s"], "svt", False, True),
        ("", ["CENTRE"], "svt", False, False),
    ],
)
def test_ocrbench(text: str, answers: list[str] | str, dataset: str, official: bool, strict: bool) -> None:
    assert ocr(text, answers, "official", dataset) is official
    assert ocr(text, answers, "strict", dataset) is strict


def test_punctuation_alone_is_no_answer() -> None:
    row = {"dataset": "svt", "question_type": "Regular Text Recognition", "answer": ["CENTRE"]}
    score = get_scorer("ocrbench").score(row, " . ", "strict", 0)
    assert (score.value, score.extracted, score.status) == (0, None, "unparsed")
