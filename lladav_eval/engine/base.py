"""What the run loop hands to an engine and gets back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from lladav_eval.records import Answerer, Generation, Question

MOST_BYTES = 256 << 20
"""Memory for the decoded media of the questions that one model is given at once; a single one may take more."""


@dataclass(frozen=True)
class Item:
    """One row: its key, and the question or the reason why there is none."""

    task: str
    doc_id: int
    key: str
    prompt: str
    question: Question | None
    reason: str | None = None
    media: str | None = None
    """Hash of the pictures or the video; None without, and where they can't be read."""

    @property
    def media_bytes(self) -> int:
        """Memory that its decoded media take."""
        return 0 if self.question is None else self.question.request.media_bytes

    def without_question(self) -> Item:
        """The same for whom nobody has to ask any more: it holds no media."""
        return replace(self, question=None)


Finished: TypeAlias = tuple[Item, Generation]


class Engine(Protocol):
    """A model that is ready to answer, wherever it lies."""

    @property
    def name(self) -> str:
        """How the model is called in tables."""
        ...

    @property
    def fingerprint(self) -> str:
        """The answerer's; the same in all places where the model lies."""
        ...

    def description(self) -> dict[str, Any]:
        """The answerer's facts for the manifest."""
        ...

    def answer(self, items: Iterator[Item]) -> Generator[list[Finished], None, None]:
        """Every item once, in groups, in any order; a group comes as soon as all of it is finished.

        Closing it early leaves nothing at work on it.
        """
        ...


StartEngine: TypeAlias = Callable[[Callable[[], Answerer], int], AbstractContextManager[Engine]]
"""Makes an engine from what loads the model and the batch size; it stands until the context ends."""


def batches(items: Iterator[Item], size: Callable[[], int], most_bytes: int) -> Iterator[list[Item]]:
    """Up to ``size()`` items of one task at a time, in order; fewer once their media take ``most_bytes``."""
    batch: list[Item] = []
    taken = 0
    for item in items:
        if batch and batch[0].task != item.task:
            yield batch
            batch, taken = [], 0
        batch.append(item)
        taken += item.media_bytes
        if len(batch) >= size() or taken >= most_bytes:
            yield batch
            batch, taken = [], 0
    if batch:
        yield batch


def join(batch: Sequence[Item], answers: Sequence[Generation], name: str) -> list[Finished]:
    """Items with the answers to those that have a question, in order; the others fail with their reason."""
    asked = sum(item.question is not None for item in batch)
    if len(answers) != asked:
        raise RuntimeError(f"{name} gave {len(answers)} answers to {asked} questions")
    given = iter(answers)
    return [(item, unanswerable(item) if item.question is None else next(given)) for item in batch]


def unanswerable(item: Item) -> Generation:
    """The failure of an item without a question."""
    return Generation.failure(item.reason or "no question could be made of the row")
