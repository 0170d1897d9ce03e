"""The model in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, cast

from lladav_eval.engine.base import MOST_BYTES, Finished, Item, batches, join, unanswerable
from lladav_eval.records import Answerer, Generation, Question


class Streamer(Protocol):
    """An answerer that lets a new sample in as soon as one leaves."""

    def stream(self, questions: Iterator[Question]) -> Iterator[list[tuple[int, Generation]]]:
        """Answers as they are finished, several at a time, each with its question's position in the order given."""
        ...


class LocalEngine:
    """Asks the answerer batch by batch, or in one stream where it has one."""

    def __init__(self, load_model: Callable[[], Answerer], batch_size: int) -> None:
        self._answerer = load_model()
        self._batch_size = batch_size

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing outlives the process."""

    @property
    def name(self) -> str:
        return self._answerer.name

    @property
    def fingerprint(self) -> str:
        return self._answerer.fingerprint

    def description(self) -> dict[str, Any]:
        return self._answerer.description()

    def answer(self, items: Iterator[Item]) -> Generator[list[Finished], None, None]:
        if hasattr(self._answerer, "stream"):
            return answer_stream(cast(Streamer, self._answerer), items, self.name)
        return self._answer_batches(items)

    def _answer_batches(self, items: Iterator[Item]) -> Generator[list[Finished], None, None]:
        for batch in batches(items, lambda: self._batch_size, MOST_BYTES):
            questions = [item.question for item in batch if item.question is not None]
            yield join(batch, self._answerer.answer(questions) if questions else [], self.name)


def answer_stream(model: Streamer, items: Iterator[Item], name: str) -> Generator[list[Finished], None, None]:
    """Every item as soon as it is finished; those without a question before the next answers."""
    asked: dict[int, Item] = {}
    failed: deque[Item] = deque()  # the model may draw questions in a thread of its own

    def questions() -> Iterator[Question]:
        position = 0
        for item in items:
            if item.question is None:
                failed.append(item)
            else:
                asked[position] = item.without_question()  # the media are the model's to keep
                position += 1
                yield item.question

    def unreadable() -> Iterator[Finished]:
        while failed:
            item = failed.popleft()
            yield item, unanswerable(item)

    for part in model.stream(questions()):
        group = [*unreadable(), *((asked.pop(position), generation) for position, generation in part)]
        if group:
            yield group
    if group := list(unreadable()):
        yield group
    if asked:
        raise RuntimeError(f"{name} left {len(asked)} questions without an answer")
