"""Pictures, questions and answers of the pocket suite, drawn from a seed.

The digits are real: scikit-learn's 1,797 handwritten digits of 8x8 pixels (UCI "Optical Recognition of Handwritten
Digits", test part, Alpaydin and Kaynak 1998). The first 1,297 are for training, the last 500 for the shipped test
rows, so no test digit was ever seen. A picture is 24x24 pixels, nine cells of 8x8; a chart is 48x24.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lladav_eval.pocket.vocabulary import ASK_LETTER, ASK_WORD, COLOURS, DIRECTIONS, LETTERS, ORDINALS

Pixels = NDArray[np.uint8]
Split = str
CELL = 8
SIDE = 3
FRAMES = 8
"""Frames of a stored video."""
FRAMES_SEEN = (0, 2, 4, 7)
"""Which of them four uniformly chosen frames are (``np.linspace(0, 7, 4)`` cut to whole numbers, as the authors do)."""
TRAIN_DIGITS = 1297
SHORTEST_TRAVEL = {"train": 11, "test": 2}
"""Pixels a digit of ``video`` moves at least; with the training range the task is solved, which measures nothing."""
FRAME_SCALE = 4
"""Video frames are stored four times enlarged: decord reads widths that are multiples of 32 only."""


@dataclass(frozen=True)
class Example:
    """One row: a question about pictures and its answer."""

    question: str
    answer: str
    images: tuple[Pixels, ...] = ()
    """(height, width, 3) each."""
    frames: tuple[Pixels, ...] = ()
    """(24, 24, 3) each; a row has images or frames, never both."""
    cells: tuple[int, ...] = ()
    """Digit in each of the nine cells, -1 where empty; only the warm-up of the tower reads it."""


@cache
def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images / 16.0, bunch.target.astype(np.int64)


@cache
def digit_rows(split: Split, digit: int) -> NDArray[np.int64]:
    labels = _digits()[1]
    rows = np.arange(len(labels))
    mine = rows < TRAIN_DIGITS if split == "train" else rows >= TRAIN_DIGITS
    return np.flatnonzero((labels == digit) & mine)


def _glyph(rng: Generator, split: Split, digit: int) -> NDArray[np.float64]:
    """One handwritten digit (8, 8) in [0, 1], shifted by up to a pixel."""
    rows = digit_rows(split, digit)
    glyph = _digits()[0][rows[rng.integers(len(rows))]]
    down, right = rng.integers(-1, 2, size=2) if rng.random() < 0.5 else (0, 0)
    shifted = np.zeros_like(glyph)
    shifted[max(down, 0) : CELL + min(down, 0), max(right, 0) : CELL + min(right, 0)] = glyph[
        max(-down, 0) : CELL + min(-down, 0), max(-right, 0) : CELL + min(-right, 0)
    ]
    return shifted


def _paint(rng: Generator, ink: NDArray[np.float64]) -> Pixels:
    """Ink (h, w) in [0, 1] to noisy grey levels as RGB: random background, contrast and sensor noise."""
    background, contrast = rng.uniform(0.0, 0.25), rng.uniform(0.55, 0.75)
    grey = background + contrast * ink + rng.normal(0.0, 0.05, size=ink.shape)
    return np.repeat(np.clip(grey * 255.0, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def board(rng: Generator, split: Split, cells: list[int]) -> Pixels:
    ink = np.zeros((SIDE * CELL, SIDE * CELL))
    for cell, digit in enumerate(cells):
        if digit >= 0:
            row, column = divmod(cell, SIDE)
            ink[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = _glyph(rng, split, digit)
    return _paint(rng, ink)


def scatter(rng: Generator, digits: list[int]) -> list[int]:
    """Digits in random cells; -1 elsewhere."""
    cells = [-1] * SIDE**2
    for cell, digit in zip(rng.permutation(SIDE**2), digits, strict=False):
        cells[int(cell)] = digit
    return cells


def draw(rng: Generator, count: int) -> list[int]:
    """Different digits."""
    return [int(digit) for digit in rng.permutation(10)[:count]]


def any_board(rng: Generator, split: Split) -> Example:
    """A board whose cells are empty or hold any digit: what the tower warms up on."""
    cells = [int(digit) if rng.random() < 0.7 else -1 for digit in rng.integers(0, 10, size=SIDE**2)]
    return Example("", "", (board(rng, split, cells),), cells=tuple(cells))


def digits(rng: Generator, split: Split) -> Example:
    """Read two to four digits that stand one after the other, from the first or the second row on."""
    count = int(rng.integers(2, 5))
    values = [int(digit) for digit in rng.integers(0, 10, size=count)]
    start = SIDE * int(rng.integers(0, 2))
    cells = [-1] * start + values + [-1] * (SIDE**2 - start - count)
    return Example("Read the digits.", "".join(map(str, values)), (board(rng, split, cells),), cells=tuple(cells))


def choice(rng: Generator, split: Split) -> Example:
    """Lettered multiple choice: which digit is in the picture."""
    values = draw(rng, 4)
    right = int(rng.integers(4))
    cells = scatter(rng, [values[right]])
    question = "\n".join(("Which digit is in the picture?", *lettered(values), ASK_LETTER))
    return Example(question, LETTERS[right], (board(rng, split, cells),), cells=tuple(cells))


def lettered(values: list[int]) -> list[str]:
    return [f"{LETTERS[index]}. {value}" for index, value in enumerate(values)]


def yes_no(rng: Generator, split: Split) -> Example:
    """Is a digit among the four of the picture? Half of the answers are yes."""
    values = draw(rng, 5)
    present = bool(rng.integers(2))
    asked = values[0] if present else values[4]
    cells = scatter(rng, values[:4])
    question = f"Is there a {asked} in the picture?\n{ASK_WORD}"
    return Example(question, "Yes" if present else "No", (board(rng, split, cells),), cells=tuple(cells))


_RGB = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 230),
    "yellow": (230, 220, 50),
    "purple": (160, 50, 190),
    "orange": (240, 140, 30),
}


def chart(rng: Generator, split: Split) -> Example:
    """Read a bar of a chart with four to six bars; values are multiples of 5 from 5 to 95."""
    width, height = 6 * CELL, SIDE * CELL
    colours = [COLOURS[int(index)] for index in rng.permutation(len(COLOURS))[: int(rng.integers(4, 7))]]
    values = [5 * int(level) for level in rng.integers(1, 20, size=len(colours))]
    picture = np.full((height, width, 3), rng.uniform(235, 255))
    heights_from_top = np.arange(height, 0, -1)[:, None] - 0.5
    for column, (colour, value) in enumerate(zip(colours, values, strict=True)):
        left = column * CELL + int(rng.integers(0, 2))
        cover = np.clip(value / 100 * height - heights_from_top + 0.5, 0, 1)[:, :, None]
        span = picture[:, left : left + CELL - 1]
        picture[:, left : left + CELL - 1] = span * (1 - cover) + np.array(_RGB[colour]) * cover
    asked = int(rng.integers(len(colours)))
    question = f"What is the value of the {colours[asked]} bar?\n{ASK_WORD}"
    return Example(question, str(values[asked]), (np.clip(picture, 0, 255).astype(np.uint8),))


COUNTS_QUESTION = "List the digits, then how many of them are even so far."


def running_count(rng: Generator, split: Split) -> tuple[list[int], str]:
    """Eight digits, and the answer: the digits again, then the running count of even ones.

    Half of the odd digits of test rows are lowered to even ones, which makes the counts larger than in training: a
    model that counts at a glance misses those sooner than one that goes on from its last count.
    """
    values = [int(digit) for digit in rng.integers(0, 10, size=8)]
    if split == "test":
        values = [
            digit - digit % 2 if lower else digit for digit, lower in zip(values, rng.random(8) < 0.5, strict=True)
        ]
    counts = np.cumsum([digit % 2 == 0 for digit in values])
    return values, "".join(map(str, (*values, *counts)))


def counts(rng: Generator, split: Split) -> Example:
    """Eight digits, then the running count of even ones: 16 answer tokens that hang together.

    Every count follows from its digit and the count before it; from the picture alone it takes several digits at once.
    """
    values, answer = running_count(rng, split)
    return Example(COUNTS_QUESTION, answer, (board(rng, split, [*values, -1]),), cells=(*values, -1))


def images(rng: Generator, split: Split) -> Example:
    """Four pictures of one digit each: which one shows the digit asked for?"""
    values = draw(rng, 4)
    right = int(rng.integers(4))
    boards = tuple(board(rng, split, scatter(rng, [value])) for value in values)
    return Example(f"Which image shows a {values[right]}?\n{ASK_WORD}", ORDINALS[right], boards)


def video(rng: Generator, split: Split) -> Example:
    """A digit that moves in one of four directions for eight frames; test rows also have slow ones."""
    side = SIDE * CELL
    direction = DIRECTIONS[int(rng.integers(4))]
    glyph = _glyph(rng, split, int(rng.integers(10)))
    travel = np.linspace(0, rng.uniform(SHORTEST_TRAVEL[split], 16), FRAMES)
    across = int(rng.integers(0, side - CELL + 1))
    along = np.round(rng.uniform(0, side - CELL - travel[-1]) + travel).astype(int)
    if direction in ("left", "up"):
        along = side - CELL - along
    state = rng.bit_generator.state
    frames = []
    for offset in along:
        ink = np.zeros((side, side))
        row, column = (across, offset) if direction in ("left", "right") else (offset, across)
        ink[row : row + CELL, column : column + CELL] = glyph
        rng.bit_generator.state = state  # the same background in every frame
        frames.append(_paint(rng, ink))
    return Example(f"Which way does the digit move?\n{ASK_WORD}", direction, frames=tuple(frames))


TASKS: dict[str, Callable[[Generator, Split], Example]] = {
    "digits": digits,
    "choice": choice,
    "yesno": yes_no,
    "chart": chart,
    "counts": counts,
    "images": images,
    "video": video,
}
"""What ships, by the name behind ``lladav_pocket_``."""
GEN_LENGTH = {"digits": 8, "choice": 2, "yesno": 2, "chart": 4, "counts": 16, "images": 2, "video": 2}
"""Answer positions of each task; denoising steps and block length are the same number."""


def enlarge(frame: Pixels) -> Pixels:
    """A frame as it is stored in a video file."""
    return frame.repeat(FRAME_SCALE, axis=0).repeat(FRAME_SCALE, axis=1)
