"""Thoughts, frames and tags around an answer."""

from __future__ import annotations

import time

import pytest

from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import final_text
from lladav_eval.scoring.spoken import spoken
from lladav_eval.scoring.yes_no import extract_yes_no


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("B", "B"),
        ("<think>Is it A?</think>B", "B"),
        ("<thinking>It may be (A).</thinking>\n\nB", "B"),
        ("<reasoning>(A) looks fine</reasoning><answer>B</answer>", "B"),
        ("\u25c1think\u25b7 (A)? \u25c1/think\u25b7B", "B"),
        ("(A) looks fine at first.\n<answer> B </answer>", "B"),
        ("(A) is near.\n<|begin_of_box|>B<|end_of_box|>", "B"),
        ("<REASONING>(A) is near</REASONING><CONCLUSION>B</CONCLUSION>", "B"),
        ("<answer>A</answer> No: <answer>B</answer> I hope this helps.", "B"),
        ("so <answer>B", "B"),
        ("B <answer></answer>", "B"),
        # Nothing follows the thoughts.
        ("<think>B</think>", "B"),
        ("<think>Perhaps (A).\n\nB\n</think>\n<|im_end|>", "B"),
        ("<think>(A)?\n<answer>B</answer></think>", "B"),
        ("<think></think>", ""),
        ("B\n\nI hope this helps!", "B"),
        ("I hope this helps.", "I hope this helps."),
        # Letters, and tags.
        ("<B>", "B"),
        ("<b>B</b>", "B"),
        ("<B>red</B>", "red"),
        ("B</s><|eot_id|>", "B"),
        ("x < 3 and y > 2", "x < 3 and y > 2"),
        ("<yes>", "<yes>"),
    ],
)
def test_spoken(text: str, said: str) -> None:
    assert spoken(text).strip() == said


def test_every_kind_of_answer_is_read_behind_thoughts() -> None:
    assert extract_choice("<think>It seems to be (A), but no: the answer is B.</think>", "ABCD") == "B"
    assert extract_choice("Answer: <C>", "ABCD") == "C"
    assert extract_yes_no("No dog so far. <answer>Yes</answer>") == "yes"
    assert final_text("<think>It is written there.\n12 May</think>") == "12 May"


@pytest.mark.parametrize("unit", ["<answer>", "</answer>", "<think>", "</think>", "<B>", "</B>", "<|begin_of_box|>x"])
def test_many_tags_take_no_time(unit: str) -> None:
    begin = time.process_time()
    spoken(unit * (100_000 // len(unit)))
    assert time.process_time() - begin < 2
