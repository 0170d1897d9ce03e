"""The suite's rows: made from the seed alone, disjoint from training, balanced, and answered as asked."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lladav_eval.pocket import data
from lladav_eval.pocket.exercises import LESSONS
from lladav_eval.pocket.suite import shipped_examples


@pytest.mark.parametrize("lesson", LESSONS)
def test_same_seed_same_example(lesson: str) -> None:
    first, second, other = (LESSONS[lesson](np.random.default_rng(seed), "train") for seed in (7, 7, 8))
    assert first.question == second.question
    assert first.answer == second.answer
    for left, right in zip(first.images + first.frames, second.images + second.frames, strict=True):
        assert (left == right).all()
    pictures = first.images + first.frames
    assert first.question != other.question or any(
        (left != right).any() for left, right in zip(pictures, other.images + other.frames, strict=True)
    )


def test_train_and_test_digits_are_disjoint() -> None:
    train = {int(row) for digit in range(10) for row in data.digit_rows("train", digit)}
    test = {int(row) for digit in range(10) for row in data.digit_rows("test", digit)}
    assert len(train) == data.TRAIN_DIGITS
    assert len(test) == 500
    assert not train & test


def test_no_test_picture_equals_a_training_picture() -> None:
    rng = np.random.default_rng(0)
    train = {data.digits(rng, "train").images[0].tobytes() for _ in range(500)}
    test = {example.images[0].tobytes() for example in shipped_examples("digits")}
    assert not train & test


def test_answers_are_balanced() -> None:
    letters = Counter(example.answer for example in shipped_examples("choice"))
    assert set(letters) == set("ABCD")
    assert max(letters.values()) <= 0.35 * letters.total()
    words = Counter(example.answer for example in shipped_examples("yesno"))
    assert 0.4 <= words["Yes"] / words.total() <= 0.6


def test_counts_follow_from_the_digit_and_the_count_before() -> None:
    for example in shipped_examples("counts", 20):
        assert len(example.answer) == 16
        count = 0
        for digit, shown in zip(example.answer[:8], example.answer[8:], strict=True):
            count += digit in "02468"
            assert int(shown) == count


def test_choice_has_one_right_option() -> None:
    for example in shipped_examples("choice", 50):
        options = dict(line.split(". ") for line in example.question.split("\n")[1:5])
        shown = next(cell for cell in example.cells if cell >= 0)
        assert options[example.answer] == str(shown)
        assert len(set(options.values())) == 4


def test_no_is_true_when_the_digit_is_absent() -> None:
    for example in shipped_examples("yesno", 50):
        asked = int(example.question.split()[3])
        assert (example.answer == "Yes") == (asked in example.cells)
