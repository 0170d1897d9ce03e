"""Numbers: ChartQA's and MathVista's official rules beside the strict ones."""

from __future__ import annotations

import time

import pytest
from example_rows import ROWS

from lladav_eval.scoring.families.mathvista import answer_rule, normalise, settled
from lladav_eval.scoring.registry import get_scorer
from lladav_eval.scoring.relaxed import to_number
from lladav_eval.scoring.rows import Protocol


@pytest.mark.parametrize(
    ("text", "target", "official", "strict"),
    [
        ("12", "12", True, True),
        ("12.6", "12", True, True),
        ("12.61", "12", False, False),
        ("12%", "12", False, False),
        ("12%", "0.12", True, True),
        ("12", "12%", False, False),
        ("1,234", "1234", False, True),
        ("1234", "1,234", False, True),
        ("5.0", "5", True, True),
        ("0", "0", True, True),
        ("0.0", "0", False, True),
        ("Yes.", "Yes", False, True),
        ("yes", "Yes", True, True),
        (" Yes", "Yes", False, True),
        ("The answer is 12", "12", False, True),
        ("$12", "12", False, True),
        ("−3", "-3", False, True),
        ("１２", "12", True, True),
        ("e5", "5", False, False),
        ("nan", "12", False, False),
        ("1e400", "12", False, False),
        ("12 13", "12", False, False),
        ("12 years", "12", False, True),
        ("Answer: 12 Years old", "12", False, True),
        ("12 years", "12 years", True, True),
        ("about 12", "12", False, True),
        ("~12", "12", False, True),
        ("US$12", "12", False, True),
        ("12 €", "12", False, True),
        ("12 000", "12000", False, True),
        ("12\u202f000 people", "12000", False, True),
        ("12'000", "12000", False, True),
        ("12 percent", "0.12", False, True),
        ("The value of the bar is 12.", "12", False, True),
        ("There are 12 bars.", "12", False, True),
        ("12 - 5 = 7", "7", False, True),
        ("The largest is Red.", "red", False, True),
        ("No, it isn't.", "No", False, True),
        ('{"answer": 12}', "12", False, True),
        ("12 million", "12", False, False),
        ("12 k", "12", False, False),
        ("12 out of 20", "12", False, False),
        ("12 or more", "12", False, False),
        ("less than 12", "12", False, False),
        ("It is not 12", "12", False, False),
        ("The value is higher than 12.", "12", False, False),
        ("12 percentage points", "12", False, False),
    ],
)
def test_chartqa(text: str, target: str, official: bool, strict: bool) -> None:
    score, row = get_scorer("chartqa").score, {"type": "augmented_test", "answer": target}
    assert (score(row, text, "official", 0).value == 1) is official
    assert (score(row, text, "strict", 0).value == 1) is strict


def test_pix2struct_s_order_of_arguments() -> None:
    score, row = get_scorer("chartqa").score, {"type": "human_test", "answer": "100"}
    assert score(row, "95", "official", 0).value == 1  # 5 % of the target, 5.3 % of the answer
    assert score(row, "105.2", "official", 0).value == 0  # 5.2 % of the target, 4.9 % of the answer


def mathvista(kind: str, answer: str, **extra: object) -> dict[str, object]:
    question_type = "multi_choice" if kind == "text" else "free_form"
    return {
        "pid": "1", "question_type": question_type, "answer_type": kind, "choices": None, "precision": None,
        "answer": answer, "query": "q", **extra,
    }  # fmt: skip


INTEGER = mathvista("integer", "14")
FLOAT = mathvista("float", "1.2", precision=1.0)
CHOICE = mathvista("text", "145°", choices=["135°", "140°", "145°", "150°"])
LIST = mathvista("list", "[0, 2]")


@pytest.mark.parametrize(
    ("row", "text", "official", "strict"),
    [
        (INTEGER, "14", True, True),
        (INTEGER, "14.0", True, True),
        (INTEGER, "14.7", True, False),
        (INTEGER, "14 cm", False, True),
        (INTEGER, "1,400", False, False),
        (INTEGER, "The answer is 14 apples.", False, True),
        (INTEGER, "7 + 7 = 14", False, True),
        (INTEGER, "13 or 14", False, False),
        (INTEGER, "14, that is 14.0", False, True),
        (INTEGER, "The answer is not 14", False, False),
        (INTEGER, "It can't be 14", False, False),
        (INTEGER, "I don't think the answer is 14.", False, False),
        (INTEGER, "There are 13 cats and 1 dog, so \\boxed{14}", False, True),
        (INTEGER, "\\boxed{13}. No, the answer is 14.", False, True),
        (INTEGER, "5 + 9 are needed.\n\nTherefore, the number of cats is 14.", False, True),
        (INTEGER, "The change between 2013 and 2014 is about 14 cats per year.", False, True),
        (INTEGER, "The answer is 14, because 13 + 1 = 14 and 13 < 20", False, True),
        (INTEGER, "There are 13 cats.\nThe ratio is 14:13", False, False),
        (INTEGER, "One is 13, the other is 14", False, False),
        (INTEGER, "13 are there, so it isn't 14", False, False),
        (INTEGER, "The perimeter = 14 * (a + b)", False, False),
        (INTEGER, "a + b = **14**", False, True),
        (INTEGER, "<think>13 cats, 1 dog</think> <answer>14</answer>", False, True),
        (INTEGER, "\\boxed{12 or 13}, but the last is 14", False, False),
        (INTEGER, "13 or\nthe number is 1e999", False, False),
        (mathvista("integer", "14000"), "The answer is 14 000.", False, True),
        (mathvista("integer", "14000"), "14 000 m", False, True),
        (INTEGER, "The answer is 15. Wait, actually it's 14.", False, True),
        (INTEGER, "The answer is 14. Wait, actually it's 15.", False, False),
        (INTEGER, "The answer is 14. Wait, is it 15 or 16?", False, False),
        (INTEGER, "The answer is not clear, maybe 14", False, False),
        (INTEGER, "14\n\nThere are 7 cats and 7 dogs.", False, True),
        (INTEGER, "The cats are counted.\n\nI see 14 of them.", False, True),
        (INTEGER, "Step 14 is to look.\nThe picture shows", False, False),
        (INTEGER, "Features:\n\n14. Nodes", False, False),
        (INTEGER, "fourteen", False, False),
        (INTEGER, "inf", False, False),
        (INTEGER, "N/A", False, False),
        (FLOAT, "1.23", True, True),
        (FLOAT, "1.26", False, False),
        (FLOAT, "1.2 kg", False, True),
        (CHOICE, "C", True, True),
        (CHOICE, "(C) 145°", True, True),
        (CHOICE, "145°", True, True),
        (CHOICE, "145", True, False),
        (CHOICE, "c", False, True),
        (CHOICE, "I can't tell", False, False),
        (LIST, "[0, 2]", True, True),
        (LIST, "[0,2]", False, True),
        (LIST, "The answer is not [0, 2]", False, False),
        (LIST, "between [0, 2] and [1, 2]", False, False),
    ],
)
def test_mathvista(row: dict[str, object], text: str, official: bool, strict: bool) -> None:
    assert (answer_rule(row, text).value == 1) is official
    assert (get_scorer("mathvista").score(row, text, "strict", 0).value == 1) is strict


def test_the_nearest_choice_is_taken_but_never_for_nothing() -> None:
    row = mathvista("text", "no", choices=["yes it is", "no"])
    assert normalise(row, "x") == "no"
    assert answer_rule(row, "").status == "empty"
    assert answer_rule(row, " ").value == 0


@pytest.mark.parametrize(
    ("row", "text", "done"),
    [(INTEGER, "14", True), (INTEGER, "14.0", False), (FLOAT, "1e3", True), (CHOICE, "145°", True),
     (CHOICE, "C", False),
     (LIST, "[0, 2]", False), (INTEGER, "", True)],
)  # fmt: skip
def test_what_needs_no_judge(row: dict[str, object], text: str, done: bool) -> None:
    assert settled(row, text) is done


@pytest.mark.parametrize("text", ["e5", "1,23", "--5", "5%%", "²", "1_0", "0x10", "", "%"])
def test_no_number(text: str) -> None:
    assert to_number(text) is None


@pytest.mark.parametrize("protocol", ["official", "strict"])
@pytest.mark.parametrize("family", ["chartqa", "mathvista", "mmmu"])
@pytest.mark.parametrize(
    "text",
    [
        "1" * 60_000 + " x",
        "0" * 60_000 + ",",
        "1." + "1" * 60_000 + "e",
        ".1" * 30_000,
        "12 000 " * 14_000,
        "1" + " 000" * 25_000 + " x y z",
        "wait, 1 " * 12_000,
    ],
)
def test_long_numbers_take_no_time(family: str, protocol: Protocol, text: str) -> None:
    row = ROWS[family] | ({"question_type": "open"} if family == "mmmu" else {})
    begin = time.process_time()
    get_scorer(family).score(row, text, protocol, 0)
    assert time.process_time() - begin < 2
