"""Models without weights whose workers die, fail or wait as told; importable by worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from lladav_eval.engine.base import Item
from lladav_eval.errors import CheckpointError
from lladav_eval.records import Generation, Question, Request, SamplingParams

PARAMS = SamplingParams(gen_length=4, block_length=4, steps=4)


@dataclass
class Scripted:
    """Answers with the question and the brightness of its picture; writes down who was asked what."""

    folder: Path
    """Where workers leave notes."""
    kill: dict[int, int] = field(default_factory=dict)
    """How many workers die over a row."""
    hang: dict[int, int] = field(default_factory=dict)
    """How many workers stop for good over a row."""
    raise_on: int | None = None
    seconds: float = 0.0
    """Time a row takes."""
    together: int = 0
    """Processes that must have been asked something before any answers."""
    name: str = "scripted"
    fingerprint: str = "scripted-1"

    def description(self) -> dict[str, Any]:
        names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        return {"pid": os.getpid(), **{name: os.environ.get(name) for name in names}}

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        return [self.one(question) for question in questions]

    def one(self, question: Question) -> Generation:
        row = question.doc_id
        note(self.folder / "asked", f"{os.getpid()} {question.task} {row}")
        for ends, how in ((self.kill, signal.SIGKILL), (self.hang, signal.SIGSTOP)):
            deaths = self.folder / f"deaths-{row}"
            if len(notes(deaths)) < ends.get(row, 0):
                note(deaths, str(os.getpid()))
                os.kill(os.getpid(), how)
        if row == self.raise_on:
            raise ZeroDivisionError("row by zero")
        time.sleep(self.seconds)
        while len({line.split()[0] for line in notes(self.folder / "asked")}) < self.together:
            time.sleep(0.02)
        return Generation(f"{question.request.text}: {question.request.images[0].getpixel((0, 0))}")


class Streaming(Scripted):
    """The same, two rows at a time."""

    def stream(self, questions: Iterator[Question]) -> Iterator[list[tuple[int, Generation]]]:
        held: list[tuple[int, Question]] = []
        for position, question in enumerate(questions):
            held.append((position, question))
            if len(held) == 2:
                yield [(held[1][0], self.one(held.pop()[1]))]
        for position, question in held:
            yield [(position, self.one(question))]


def scripted(model: Scripted) -> Scripted:
    """Loads the model as it is."""
    return model


def refuses_to_load() -> Scripted:
    raise CheckpointError("the weights of layer 3 are missing")


def dies_while_loading() -> Scripted:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def differs_by_process(folder: Path) -> Scripted:
    return Scripted(folder, fingerprint=f"weights of {os.getpid()}")


def with_stopped_child(folder: Path) -> Scripted:
    """A model that has a process of its own, which hangs."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    child.send_signal(signal.SIGSTOP)
    note(folder / "children", str(child.pid))
    return Scripted(folder)


class Unpacked(Image.Image):
    """A picture that no other process can take in."""

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        return refuses_to_unpack, ()


def refuses_to_unpack() -> object:
    raise LookupError("no such picture here")


def note(path: Path, line: str) -> None:
    """Append a line, whichever process writes it."""
    with path.open("a") as file:
        file.write(line + "\n")


def notes(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def items(rows: int, unreadable: Sequence[int] = (), task: str = "a") -> list[Item]:
    made = []
    for row in range(rows):
        picture = Image.new("RGB", (8, 8), (row, 0, 0))
        question = Question(task, row, Request(f"row {row}", (picture,)), PARAMS)
        missing = row in unreadable
        made.append(Item(task, row, "key", f"row {row}", None if missing else question, "torn" if missing else None))
    return made


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether the process still runs; one that nobody has reaped yet doesn't."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
