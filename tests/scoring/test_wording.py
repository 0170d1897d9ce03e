"""Answers as models word them: what a careful reader takes from them, and nothing where one wouldn't be sure."""

from __future__ import annotations

import time

import pytest
from example_rows import OPTIONS

from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import concluded_answer, stated_answer

CITIES = {"A": "Paris", "B": "London", "C": "Berlin", "D": "Rome"}


@pytest.mark.parametrize(
    "text",
    [
        "I would choose B.", "I'd go with B.", "I pick option B.", "I select (B).", "Answer - B", "Answer – B",
        "Answer -> B", "Ans: B", "Ans. B", "It is neither A nor C, so B.", "Probably B", "I think it's B", "I think B",
        "It's B.", "Likely B.", "I first thought (A), but I believe it is (B).", "The answer is probably B.",
        "The answer is most likely B", "The correct answer appears to be B", "The answer to this question is B.",
        "B (dark blue)", "«B»", "「B」", "B?", "B|", "→ B", "=> B", "- B", "* B", "✅ B", "B ✅",
        "✓ B. dark blue", "option b", "Option B", "{'choice': 'B'}", '{"option": "B", "sure": true}',
        '{"answer": "B", "reason": "the answer is not A"}', '{"thought": "the answer is A?", "answer": "B"}',
        "Answer: It is dark blue.", "Which?\nA. red\nB. dark blue\nC. a cat\nD. 7\nB",
        "A. red\nB. dark blue\nC. a cat\nD. 7\n\nB. dark blue", "The options are (A) red, (B) dark blue. I choose (B).",
        "Looking at figure (A), there is a lamp.\nOption C is not visible.\n(D) is not red.\nHence (B) is correct.",
        "Option A is not visible. (B) is correct.", "(A) is wrong because it is bright.\n\n**B. dark blue**",
        "Option C is not visible.\nWait, let me look again.\nHence (B) is correct.", "The value in (A) is large. So B.",
        "So it's B.\n\nI hope this helps!", "The car is dark blue.\n\nLet me know if you need more help.",
        "Correct option:\nThe nearest one fits.\n\n\\[\n\\boxed{B} - dark blue\n\\]",
        "Let's consider each option:\n- Option A: too bright.\n- Option C: none there.\n\nIt fits only option B.",
        "The colour (C) would be wrong.\nOptions (A) and (D) don't fit either.\nThis leaves us with (B).",
        "Option: B\nReason: A isn't there.", "Answer: It's B", "A, no, B", "(A) is wrong.\n(B) is correct.",
        "A. red: too bright\nB. dark blue: seen\nC. a cat: none\nD. 7: none\n\nIt must be option B here.",
        # Taken back.
        "The answer is A. Wait, actually it's B.", "A. No wait, B.", "A\n\nActually, B", "(A)... no, (B).",
        "Answer: A. Correction: B", "Answer: A. On second thought, B.", "red. Wait, actually it is dark blue.",
        "The answer is B. Wait, let me check: B is dark blue. Yes.", "B. Wait times are longer.",
        "The correct answer is B. Incorrect options: A, C.", "B. Wrong options are A and C.",
        "B. Actually, the picture shows it clearly.", "B. Actually, (A) is wrong because it's bright.",
        # Other languages.
        "Antwort: B", "Die richtige Antwort ist B.", "Réponse : B", "La réponse est B.", "Respuesta: B",
        "La respuesta correcta es B.", "Ответ: B", "正解はBです。", "정답은 B입니다.",
        "选B", "选项B", "选择B。", "正确选项是B。", "应该选B", "故选：B", "所以选择B选项。", "【答案】B", "答案应该是B",
        "答案是选项B",
        "A不对，C不对，选B", "A选项错误，B选项正确。", "B是正确的", "B、蓝色", "应排除A，选择B",
    ],
)  # fmt: skip
def test_b_is_said(text: str) -> None:
    assert extract_choice(text, OPTIONS) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "A or (B)", "(A) / (B)", "In figure (B)", "See image (B).", "A: incorrect", "Option A: incorrect",
        "A: incorrect\nB: correct", "A\nB", "Option A\nOption B", "- A\n- B", "A. red\nB. dark blue", "B\n\nA\n\nC",
        "\\boxed{B} was wrong. The answer is none of them.",
        "Option B is not visible.", "(B) does not fit here", "The value in (B) is large.",
        # Broken off before they conclude.
        "Which?\n\nOptions:\n(A) red\n(B) dark blue\n(C) a cat\n(D) 7\n\nThe picture shows a street with a",
        "Which?\n\nOptions:\n(A) red", "Which?\n\nOptions:\n(A", "Let's look at each option:\n\nA. red\n\nB. dark",
        "Let's evaluate each option: A. Red - it is seen in the", "First, the wall.\n- The roof (B) is", "It is\n- A",
        "The force (B) is large.\nThen we need the mass of it", "1. Option A: red\n2. Option B: dark", "So\n\\[\nA =",
        "Consider them.\nOption B features dark",
        "A) red? No.\nB) dark blue? Yes.", "~B", "!B", "There is no B.", "A is more likely than C, less likely B.",
        "The point on the line is B.", "I think A is wrong", "I don't think it's B.",
        "If it's red then A, else it's B.",
        "It could be that it's B", "It's B or it's A", "The answer is B or it's A.", "He moves from A to B", "B+", "B-",
        "I choose neither A nor B.", "I would pick either A or B", "I can't choose B", "I choose to abstain. A",
        "The answer is A.\n\nWait, let me check: (B) shows a cat. Yes, my first thought was right.",
        "A. Wait, it might be dark blue.", "Wait for the bus. A", '{"answer": ["A", "B"]}', '{"answer": null}',
        "Die Antwort ist nicht B.", "La respuesta no es B", "Bär", "Answer: Bär",
        "A. red\nB. dark blue\nC. a cat\nD. 7\nC or B",
        "不选B", "不应选B", "选A或B", "选A和B", "选项A错误", "B不正确", "B选项不正确", "排除选项A",
        "选择题", "B是对角线", "答案不是B", "答案是A或B",
        "答えはAかBです",
    ],
)  # fmt: skip
def test_nothing_clear_is_said(text: str) -> None:
    assert extract_choice(text, OPTIONS) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("It's London!", "B"),
        ("The answer is London, as seen by its clock.", "B"),
        ("London, so B", "B"),
        ("The answer is London, as well as Rome", None),
        ("London, as opposed to Paris", None),
    ],
)
def test_contents_in_sentences(text: str, letter: str | None) -> None:
    assert extract_choice(text, CITIES) == letter


def test_no_before_what_cannot_be_told() -> None:
    options = {"A": "Yes", "B": "No"}
    assert extract_choice("No, I can't tell.", options) is None
    assert extract_choice("No, I can't see it.", options) == "B"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Thus x = 5 is the only solution.", "x = 5"),
        ("So 5 is the correct answer!", "5"),
        ("It is France!", "France"),
        ("This isn't the only solution", None),
    ],
)
def test_concluded_answer(text: str, said: str | None) -> None:
    assert concluded_answer(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"answer": 12}', "12"),
        ('{"answer": "12 May", "page": 3}', "12 May"),
        ("{'final_answer': 'a, b'}", "a, b"),
        ('{"answer": "say \\"no\\""}', 'say \\"no\\"'),
        ("Answer -5", None),
        ("Answer - 5", "5"),
    ],
)
def test_stated_in_other_shapes(text: str, said: str | None) -> None:
    assert stated_answer(text) == said


UNITS = (
    "wait, ", "\n", "...no ", "actually. ", "so A ", "it's A", "I think A ", "A or ", "in figure (A) ", '"answer": "',
    "选A", "answer to this ", "I choose A ", "no, I can't tell ", "答案", " no", "- A\n",
    "A. x\nB. y\n", "'", "each option: ", "it is ", "B is correct. ", "I hope this\n",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_long_texts_take_no_time(unit: str) -> None:
    begin = time.process_time()
    for text in ("Name: " + unit * (100_000 // len(unit)), "x\n" + " " * 100_000 + unit):
        extract_choice(text, {**OPTIONS, "E": "No"})
    assert time.process_time() - begin < 5
