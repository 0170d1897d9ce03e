"""The points of a sweep: every combination of steps, block length and cache, checked against the tasks' settings.

A combination that a task's settings refuse (steps that the blocks don't divide, say) is known before anything runs: it
is kept with its reason and never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from lladav_eval.errors import SettingError
from lladav_eval.runs.tasks import read_task
from lladav_eval.settings import TABLE, translate

AXES = ("steps", "block_length", "cache")


@dataclass(frozen=True)
class Point:
    """One combination; None keeps the task's own setting."""

    steps: int | None
    block_length: int | None
    cache: str | None
    """``none`` is exact decoding, whatever the task says."""
    tasks: tuple[str, ...] = ()
    """The tasks whose settings allow it."""

    @property
    def overrides(self) -> tuple[tuple[str, str], ...]:
        """As ``--gen`` would give them."""
        values = (self.steps, self.block_length, self.cache)
        return tuple((name, str(value)) for name, value in zip(AXES, values, strict=True) if value is not None)

    @property
    def label(self) -> str:
        """For people: ``steps=4, block_length=8``."""
        return ", ".join(f"{name}={value}" for name, value in self.overrides)

    @property
    def folder(self) -> str:
        """Name of its run directory; the same combination always has the same."""
        return "-".join(file_name(f"{name}_{value}") for name, value in self.overrides)


@dataclass(frozen=True)
class Skipped:
    """A combination that a task can't run."""

    task: str
    point: Point
    reason: str


def file_name(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)


def read_axis(option: str, text: str | None) -> tuple[int | None, ...]:
    """``1,2,4`` -> numbers, each once; without the option the task's own setting alone. Raises SettingError."""
    if text is None:
        return (None,)
    values = [part.strip() for part in text.split(",")]
    if any(not value.isascii() or not value.isdigit() or int(value) < 1 for value in values):
        raise SettingError(f"{option} {text!r}: give whole numbers of at least 1, separated by commas, such as 1,2,4")
    return tuple(dict.fromkeys(map(int, values)))


def read_caches(texts: Iterable[str] | None) -> tuple[str | None, ...]:
    """``none,dllm:25,7,0.25`` -> names with their numbers, each meaning once. Raises SettingError."""
    if not texts:
        return (None,)
    _, read = TABLE["cache"]
    found: dict[str, None] = {}
    for text in texts:
        # A comma before a digit belongs to the cache's numbers.
        for part in re.split(r",(?!\s*[\d.])", text):
            found[read(part.strip()) or "none"] = None
    return tuple(found)


def plan_grid(
    tasks: Sequence[str],
    gen: Sequence[tuple[str, str]],
    steps: Sequence[int | None],
    block_lengths: Sequence[int | None],
    caches: Sequence[str | None],
    include_path: Sequence[str | Path] = (),
) -> tuple[list[Point], list[Skipped]]:
    """The points to run, and what is left out of them.

    Args:
        tasks: full task names.
        gen: settings of every point, as (name, value) text; they may not name what is varied.

    Raises:
        SettingError: nothing is varied, ``gen`` contradicts an axis, or no combination is possible.
    """
    varied = [name for name, values in zip(AXES, (steps, block_lengths, caches), strict=True) if list(values) != [None]]
    if not varied:
        raise SettingError("nothing to vary: give --steps, --block-length or --cache, for example --steps 1,2,4")
    for name, value in gen:
        if name in TABLE and TABLE[name][0] in varied:
            option = "--" + TABLE[name][0].replace("_", "-")
            raise SettingError(f"--gen {name}={value} contradicts {option}: keep one of the two")
    kwargs = {task: read_task(task, include_path).get("generation_kwargs") for task in tasks}
    points, skipped = [], []
    for values in product(steps, block_lengths, caches):
        possible = []
        for task in tasks:
            try:
                translate(kwargs[task], (*gen, *Point(*values).overrides), task)
                possible.append(task)
            except SettingError as error:
                skipped.append(Skipped(task, Point(*values), str(error)))
        if possible:
            points.append(Point(*values, tuple(possible)))
    if not points:
        first = skipped[0]
        raise SettingError(f"no combination is possible; the first, {first.point.label}: {first.reason}")
    return points, skipped
