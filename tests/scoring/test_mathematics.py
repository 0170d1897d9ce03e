from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lladav_eval.scoring.mathematics import final_answer, math_equal

EQUAL = [
    ("\\frac{1}{2}", "0.5"), ("x=3", "3"), ("3", "x = 3"), ("14 cm", "14"), ("2\\sqrt{3}", "2√3"),
    ("\\sqrt{12}", "2√{3}"),
    ("1,234", "1234"), ("y=x^2+1", "y = 1+x^{2}"), ("f(x) = -x^2 - 2x + 1", "-x^2-2x+1"), ("30^\\circ", "30°"),
    ("30 degrees", "30°"), ("5.0", "5"), ("12%", "12"), ("(3, 4)", "(3,4)"), ("π/4", "\\frac{\\pi}{4}"), ("−3", "-3"),
    ("2(x+1)", "2x+2"), ("20π cm^2", "20\\pi"), ("\\(\\frac{3}{4}\\)", "0.75"), ("$7$", "7"), ("x^2 y", "y x^2"),
    ("(-2,1]", "(-2, 1]"), ("3, 5", "3,5"), ("\\sqrt[3]{8}", "2"), ("sin(30°)", "sin(30)"), ("2^{-1}", "1/2"),
    ("4²", "16"), ("2 1/2", "2.5"), ("2\\frac{1}{2}", "2.5"), ("-2 1/2", "-5/2"), ("2\\frac{\\sqrt{3}}{2}", "\\sqrt3"),
    ("2\\frac{x}{3}", "2x/3"), ("x^2\\frac{1}{2}", "x^2/2"), ("3\\cdot 10^2\\frac{1}{2}", "150"),
    ("30^{\\circ}", "30°"), ("30^{\\circ}", "30"), ("sin(30^{\\circ})", "sin(30)"), ("12 cm²", "12 cm^2"),
    ("12 square cm", "12\\text{ cm}^{2}"), ("3 meters", "3 m"), ("3 inches", "3 in"), ("5 Kilometers", "5 km"),
    ("15 min", "15 minutes"), ("\\$4", "4"), ("1 1/2", "1.5"), ("x = 1 1/2", "1.5"), ("2 \\sqrt 3", "2\\sqrt3"),
    ("\\frac12", "0.5"), ("[0, \\infty)", "[0,∞)"), ("x \\geq 3", "x>=3"), ("x≤3", "x \\le 3"),
    ("12\\,000", "12{,}000"), ("((1, 2), 3)", "((1,2), 6/2)"), ("([1, 2], 3)", "([1,2], 6/2)"),
    ("(\\frac{1}{2}, 3)", "(0.5, 6/2)"), ("({1, 2}, 3)", "({1,2}, 6/2)"),
    ("(x+1)^2", "x^2+2x+1"), ("\\sqrt{3+2\\sqrt{2}}", "1+\\sqrt{2}"), ("(x+1)(y+2)", "xy+2x+y+2"),
    ("\\ln(x)", "log(x)"), ("ln 2", "\\log 2"), ("2^-1", "1/2"), ("\\dfrac{1}{2}", "\\tfrac{2}{4}"), ("π 2", "2π"),
    ("2abc", "2cab"), ("abc/2", "\\frac{abc}{2}"), ("pir^2", "\\pi r^2"), ("lnx", "\\ln x"),
    ("2sinxcosx", "2\\sin(x)\\cos(x)"),
    ("12 000", "12000"), ("12 000 m²", "12000 m^2"), ("f(0) = 3", "3"), ("f(x+1)", "f(1+x)"), ("2f(3)/2", "f(3)"),
]  # fmt: skip
DIFFERENT = [
    ("(-2,1]", "(-2,1)"), ("", ""), ("", "3"), ("3", "4"), ("x^2", "y^2"), ("5 cm", "5 m"), ("1/0", "2"), ("((((", "2"),
    ("9^9^9^9", "3"), ("(3,4)", "(4,3)"), ("3", "3,4"), ("null", "2"), ("2.83", "2√2"), ("exp(exp(exp(9)))", "1"),
    ("10!", "3"), ("2\\frac{1}{2}", "1"), ("3 4", "12"), ("x=5 or x=6", "6"), ("3 \\times 2 1/2", "6.5"),
    ("__import__('os')", "3"), ("x=3", "y=3"), ("3" * 300, "3"), ("log(0)", "1"),
    ("1 1/2", "11/2"), ("2 1/3", "21/3"), ("3 4", "34"), ("x = 1 1/2", "11/2"), ("12 cm²", "12 cm³"),
    ("12 cm", "12 cm²"), ("3 meters", "3 ft"), ("3 m", "3 min"), ("f \\circ g", "fg"), ("\\sqrt[0]{9}", "1"),
    ("f(0)", "0"), ("g(2)", "2g"), ("2x = 10", "10"), ("-x = 5", "5"), ("3 100/3", "3100/3"),
    ("2 bars smaller than 0", "0"), ("the value of f(0)", "0"),
    ("((1,2),3)", "((1,2),4)"), ("((1,2),3)", "(1,2,3)"), ("(x+1)^2", "x^2+2x+2"),
    ("(x+1)(y+2)", "xy+2x+y+3"), ("(x+1)^2", "(y+1)^2"), ("\\sqrt[x]{9}", "3"), ("\\sqrt[.5]{3}", "9"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "gold"), EQUAL)
def test_equal(answer: str, gold: str) -> None:
    assert math_equal(answer, gold)
    assert math_equal(gold, answer)


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_different(answer: str, gold: str) -> None:
    assert not math_equal(answer, gold)
    assert not math_equal(gold, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So $x = 4$. The answer is: 4 cm.", "4 cm"),
        ("thus \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{1} or rather \\boxed{2}", "2"),
        ("\\boxed{1", "\\boxed{1"),
        ("Answer: 7\nbecause of that", "7"),
        ("12", "12"),
        ("AB is 3 and BC 4.\n\nTherefore, the length of AC is approximately 5 cm.", "5 cm"),
        ("The line is drawn. Its equation is $y = 2x$.", "$y = 2x$"),
        ("The length is not 5", "The length is not 5"),
        ("<think>AB is 3. The answer is 3?</think><answer>5 cm</answer>", "5 cm"),
        ("AB is 3 and BC is 4", "AB is 3 and BC is 4"),
        ("So x = 5 is the only solution.", "x = 5"),
        ("Thus, angle ABC = 30°.", "angle ABC = 30°"),
        ("AB is 3 and BC is 4. Therefore AC = 5.", "AC = 5"),
        ("<think>so 5</think>", "5"),
        ("The answer is", None),
        ("", None),
        ("word " * 100, None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(alphabet="0123456789.+-*/^(){}[],=x πa\\sqrtfrcexploginm°", max_size=60),
    gold=st.sampled_from(["3", "2√3"]),
)
def test_no_text_crashes_or_hangs(text: str, gold: str) -> None:
    begin = time.monotonic()
    assert math_equal(text, gold) in (True, False)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("index", [".0000001", ".0000000000001", "1000000", "\\sqrt[.1]{9}"])
def test_the_index_of_a_root_makes_no_huge_power(index: str) -> None:
    begin = time.process_time()
    assert not math_equal(f"\\sqrt[{index}]{{9}}", "5")
    assert time.process_time() - begin < 5
