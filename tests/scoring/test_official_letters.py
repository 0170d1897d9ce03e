"""Hard lettered answers under each benchmark's own official rule: what its script reads, quirks included."""

from __future__ import annotations

import pytest
from example_rows import OPTIONS, ROWS

from lladav_eval.errors import TaskError
from lladav_eval.scoring.families.mmbench import match
from lladav_eval.scoring.families.mmmu import parse_letter, parse_letter_pro
from lladav_eval.scoring.families.realworldqa import official_letter as realworldqa_letter
from lladav_eval.scoring.families.videomme import official_letter as videomme_letter
from lladav_eval.scoring.registry import get_scorer
from lladav_eval.scoring.rows import Protocol

# Recorded by running the scripts themselves. text: MMMU, MMMU-Pro, MMBench (exact matching), Video-MME, RealWorldQA
TABLE = {
    "B": ("B", "B", "B", "B", "B"),
    "(B)": ("B", "B", "B", "B", "B"),
    "B.": ("B", "B", "B", "B", "B"),
    "B:": ("B", "B", "B", "B", "B"),
    "b": (None, None, None, None, None),
    "b.": (None, None, None, None, None),
    "Answer: B": ("B", "B", "B", "A", "B"),
    "Answer:B": (None, "B", None, "A", "B"),
    "Best answer: C": ("C", "C", "C", "B", "C"),
    "The best answer is: D": ("D", "D", "D", "D", "D"),
    "The answer is option B because A is wrong": ("A", "A", None, "B", "A"),
    "Because...": (None, None, None, "B", "B"),
    "A cat": ("A", "A", "A", "A", "A"),
    "DNA is it": (None, "A", None, "D", "A"),
    "(A) is wrong, (C) is right": ("C", "C", None, "A", "C"),
    "B) dark blue": (None, None, "B", "B", "B"),
    "B. dark blue": (None, "B", "B", "B", "B"),
    "it is clearly a dark blue thing": ("B", "B", "B", None, None),
    "dark blue": (None, None, "B", None, None),
    "red or dark blue": (None, None, None, None, None),
    "A or B": ("B", "B", None, "A", "A"),
    "**B**": (None, None, None, "B", "B"),
    "（Ｂ）": (None, None, None, None, None),
    "E": (None, None, "E", None, None),
    "Answer: B\nAnswer: it is C": ("C", "C", None, "A", "C"),
    "Answer: A or C": ("C", "C", None, "A", "C"),
}


@pytest.mark.parametrize(("text", "letters"), TABLE.items())
def test_what_each_script_reads(text: str, letters: tuple[str | None, ...]) -> None:
    read = (
        parse_letter(text, OPTIONS),
        parse_letter_pro(text, OPTIONS),
        match(text, OPTIONS),
        videomme_letter(text),
        realworldqa_letter(text),
    )
    assert read == letters


@pytest.mark.parametrize(
    ("family", "right", "wrong"),
    [
        (
            "mmstar",
            ["B", "b", "(B)", "option B", "The answer is B", "Because", "B: red"],
            ["Answer: B", "[B]", "It is B"],
        ),
        ("seedbench", ["B", "b", "(B)", "( b", "Because", "B. red"], ["[B]", "Answer: B", "The answer is B"]),
        (
            "ai2d",
            ["B", "b", "(B)", "B.", "B. dark blue", " B. A. C."],
            ["B) dark blue", "dark blue", "Answer: B", "B !", ": B"],
        ),
        ("mlvu", ["B", "B)", "(B) dark blue", "B) not (C)", " B "], ["b", "B.", "B dark blue", "dark blue"]),
        (
            "mvbench",
            ["B", "b", "(B)", "B.", "b) dark", "(B) dark blue", "xx(b)", "B\ndark"],
            ["Answer: B", "dark blue", "[b]"],
        ),
    ],
)
def test_what_counts_as_right(family: str, right: list[str], wrong: list[str]) -> None:
    score = get_scorer(family).score
    assert [text for text in right if score(ROWS[family], text, "official", 0).value != 1] == []
    assert [text for text in wrong if score(ROWS[family], text, "official", 0).value != 0] == []


@pytest.mark.parametrize("text", ["(", ")", ".", "...", "-", "()"])
def test_mvbench_does_not_take_marks_for_every_label(text: str) -> None:
    score = get_scorer("mvbench").score(ROWS["mvbench"], text, "official", 0)
    assert (score.value, score.status) == (0.0, "unparsed")


def test_mvbench_s_label_is_the_last_of_equal_options() -> None:
    row = {"candidates": ["red", "blue", "red"], "answer": "red"}
    score = get_scorer("mvbench").score
    assert [score(row, text, "official", 0).value for text in "ABC"] == [0, 0, 1]
    assert [score(row, text, "strict", 0).value for text in "ABC"] == [1, 0, 1]


@pytest.mark.parametrize("wrong", ["validation_Geography_15", "validation_Accounting_29"])
def test_known_misprinted_rows_count_as_wrong(wrong: str) -> None:
    row = {**ROWS["mmmu"], "id": wrong, "options": "['x', 'y', 'z']", "answer": "D"}
    assert get_scorer("mmmu").score(row, "D", "official", 0).value == 0
    assert get_scorer("mmmu").score({**row, "answer": "A"}, "A", "official", 0).value == 1


def test_mmbench_is_right_only_if_every_roll_is() -> None:
    scorer = get_scorer("mmbench_circular")
    rows = [{**ROWS["mmbench"], "index": index} for index in (7, 1000007, 8, 1000008, 9)]
    scores = [scorer.score(row, text, "official", 0) for row, text in zip(rows, "BBBCB", strict=True)]
    metrics = scorer.aggregate(scores)
    assert metrics["circular"] == pytest.approx(200 / 3)
    assert metrics["first_roll_only"] == 100
    assert metrics["accuracy"] == 80


@pytest.mark.parametrize("missing", [None, "", "nan", float("nan")])
def test_mmbench_options_that_are_not_there(missing: object) -> None:
    row = {**ROWS["mmbench"], "C": missing, "D": missing}
    assert get_scorer("mmbench").score(row, "a banana on dark blue", "official", 0).extracted == "B"


@pytest.mark.parametrize("protocol", ["official", "strict"])
@pytest.mark.parametrize(("text", "value"), [("B) dark blue", 1), ("C)", 0), ("E)", 0)])
def test_mlvu_without_its_candidates_has_four_letters(text: str, value: float, protocol: Protocol) -> None:
    row = {"answer": "B", "task_type": "ego"}
    assert get_scorer("mlvu").score(row, text, protocol, 0).value == value
    with pytest.raises(TaskError, match="outside the options ABCD"):
        get_scorer("mlvu").score({**row, "answer": "E"}, text, protocol, 0)


def test_mlvu_averages_its_tasks() -> None:
    scorer = get_scorer("mlvu")
    ego, count = ROWS["mlvu"], {**ROWS["mlvu"], "task_type": "count"}
    scores = [
        scorer.score(row, text, "official", 0) for row, text in ((ego, "B"), (ego, "B"), (ego, "B"), (count, "C"))
    ]
    assert scorer.aggregate(scores)["accuracy_macro"] == 50
    assert scorer.aggregate(scores)["accuracy"] == 75
