from __future__ import annotations

import pytest

from lladav_eval.scoring.choice import extract_choice

OPTIONS = {"A": "red", "B": "dark blue", "C": "a cat", "D": "7"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("[c]", "C"),
        ("B) dark blue", "B"),
        ("B: dark blue", "B"),
        ("B, because it is", "B"),
        ("**B**", "B"),
        ("The answer is B.", "B"),
        ("The answer is (B), not (C).", "B"),
        ("Answer: D", "D"),
        ("It must be option C here", "C"),
        ("so (D) it is", "D"),
        ("dark blue", "B"),
        ("The answer is dark blue.", "B"),
        ("7", "D"),
        ("A cat", "C"),
        ("A", "A"),
        # nothing to read, or more than one reading
        ("", None),
        ("   ", None),
        ("Because", None),
        ("A bird is shown", None),
        ("a", "A"),
        ("E", None),
        ("(E)", None),
        ("(A) or (B)", None),
        ("either (A) or (B)", None),
        ("option A or option B", None),
        ("I think so", None),
        ("blue", None),
        ("17", None),
        ("AB", None),
        ("Bread", None),
        ("(B) is wrong. The answer is unclear.", None),
    ],
)
def test_extract_choice(text: str, letter: str | None) -> None:
    assert extract_choice(text, OPTIONS) == letter


def test_letters_alone_are_enough() -> None:
    assert extract_choice("(D)", "ABCD") == "D"
    assert extract_choice("dark blue", "ABCD") is None


def test_equal_contents_are_ambiguous() -> None:
    assert extract_choice("seven", {"A": "seven", "B": "Seven"}) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("It costs 7.\n\n**B**", "B"),
        ("Both (A) and (C) are too far.\n\nD", "D"),
        ("Hence the colour is:\n\nB. dark blue", "B"),
        ("The answer is the sky's colour.\n\nB.", "B"),
        # Not the last one of a list, not what is denied, not the end of a sentence.
        ("Let's see.\nA. red\nB. dark blue", None),
        ("I would exclude:\nB", None),
        ("It is seen in\nB. subtilis", None),
    ],
)
def test_the_last_line_may_be_the_answer(text: str, letter: str | None) -> None:
    assert extract_choice(text, OPTIONS) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("No, there are four of them.", "B"),
        ("Yes. It stands on the left.", "A"),
        ('The correct answer is "no." It is larger.', "B"),
        ("So the answer is no, there is none.", "B"),
        ("A cat, because it has whiskers", "C"),
        ("There are three. The animal on the left is a cat.", "C"),
        ("The animal isn't a cat", None),
        ("The animal is not a cat", None),
        ("It is a cat and the other is a dog", None),
        ("I doubt that it is a cat", None),
        # The other one is there, too; an idiom; the first of a list; the beginning of another word.
        ("No, yes, I mean", None),
        ("No idea.", None),
        ("A cat, dogs and birds are seen", None),
        ("Nowhere, really", None),
    ],
)
def test_an_answer_may_begin_or_end_with_the_option_itself(text: str, letter: str | None) -> None:
    assert extract_choice(text, {"A": "Yes", "B": "No", "C": "A cat"}) == letter


@pytest.mark.parametrize(
    "text",
    [
        "The answer would be B.", "so the answer's B", "B is correct", "A is wrong, B is right", "B is the answer.",
        "<answer>B</answer>", '{"answer": "B"}', "['B']", "B</s>", "<think>Is it (A)?</think>B", "B dark blue",
        "It's dark blue.", "The answer is the dark blue.", "所以答案是B。", "答案：B", "【B】",
    ],
)  # fmt: skip
def test_ways_to_say_a_letter(text: str) -> None:
    assert extract_choice(text, OPTIONS) == "B"


@pytest.mark.parametrize(
    "text", ["A is right and B is right", "I doubt the answer would be B", "D is an option", "B red"]
)
def test_these_say_none(text: str) -> None:
    assert extract_choice(text, OPTIONS) is None
