"""Exercises: what the pocket model trains on besides its tasks.

Finding an equal digit and reading what stands beside it takes a model long to discover from one token of feedback an
example, as the tasks give. The exercises ask for the same with more feedback, or without a picture, which is cheaper.
"""

from __future__ import annotations

from numpy.random import Generator

from lladav_eval.pocket import data
from lladav_eval.pocket.data import (
    COUNTS_QUESTION,
    TASKS,
    Example,
    Split,
    board,
    draw,
    lettered,
    running_count,
    scatter,
)
from lladav_eval.pocket.vocabulary import ASK_LETTER, LETTERS, ORDINALS


def lookup(rng: Generator, split: Split) -> Example:
    """Exercise for ``choice``, no picture: every option's content and its letter, in another order."""
    values = draw(rng, 4)
    answer = "".join(f"{values[index]}{LETTERS[index]}" for index in rng.permutation(4))
    return Example("\n".join(("Match each digit to its letter.", *lettered(values))), answer)


def options(rng: Generator, split: Split) -> Example:
    """Exercise for ``choice``: mark every option + or -, whether it is in the picture."""
    values = draw(rng, 4)
    right = int(rng.integers(4))
    cells = scatter(rng, [values[right]])
    answer = "".join(f"{LETTERS[index]}{'+' if index == right else '-'}" for index in range(4))
    question = "\n".join(("Which digit is in the picture?", *lettered(values), "Mark each option."))
    return Example(question, answer, (board(rng, split, cells),), cells=tuple(cells))


def presence(rng: Generator, split: Split) -> Example:
    """Exercise for ``yes_no``: six digits, + or - for each, whether it is in the picture."""
    shown, asked, answer = _membership(rng)
    cells = scatter(rng, shown)
    question = f"Which of these are in the picture: {''.join(map(str, asked))}"
    return Example(question, answer, (board(rng, split, cells),), cells=tuple(cells))


def _membership(rng: Generator) -> tuple[list[int], list[int], str]:
    """Four digits, six that are asked for, and a + or - for each of the six."""
    values = draw(rng, 10)
    asked = [values[int(index)] for index in rng.permutation(8)[:6]]
    return values[:4], asked, "".join("+" if digit in values[:4] else "-" for digit in asked)


def places(rng: Generator, split: Split) -> Example:
    """Exercise for ``images``: for each of four digits, which picture shows it."""
    values = draw(rng, 4)
    boards = tuple(board(rng, split, scatter(rng, [value])) for value in values)
    order = [int(index) for index in rng.permutation(4)]
    asked = "".join(str(values[index]) for index in order)
    return Example(f"Which image shows each digit: {asked}", "".join(ORDINALS[index] for index in order), boards)


def option(rng: Generator, split: Split) -> Example:
    """Exercise for ``choice``, no picture: the letter of a digit."""
    values = draw(rng, 4)
    right = int(rng.integers(4))
    return Example("\n".join((f"Which option is {values[right]}?", *lettered(values), ASK_LETTER)), LETTERS[right])


def listed(rng: Generator, split: Split) -> Example:
    """Exercise for ``yes_no``, no picture: six digits, + or - for each, whether it is in a list."""
    shown, asked, answer = _membership(rng)
    question = f"Which of these are in the list {''.join(map(str, shown))}: {''.join(map(str, asked))}"
    return Example(question, answer)


def spelled(rng: Generator, split: Split) -> Example:
    """Exercise for ``counts``, no picture: the same from digits in the question."""
    values, answer = running_count(rng, split)
    return Example(f"{COUNTS_QUESTION[:-1]}: {''.join(map(str, values))}", answer)


TEXT_EXERCISES = {"lookup": lookup, "option": option, "listed": listed, "spelled": spelled}
PICTURE_EXERCISES = {"options": options, "presence": presence, "places": places}
LESSONS = {**TASKS, **TEXT_EXERCISES, **PICTURE_EXERCISES}
"""Everything that is trained on."""
GEN_LENGTH = {
    **data.GEN_LENGTH,
    "lookup": 8,
    "option": 2,
    "listed": 6,
    "spelled": 16,
    "options": 8,
    "presence": 6,
    "places": 22,
}
"""Answer positions of each lesson. The words of ``places`` run together, so they are spelled in single letters."""
