"""The model in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, cast

from lladav_eval.engine.base import Finished, Item, batches, join, unanswerable
from lladav_eval.records import Answerer, Generation, Question


class Streamer(Protocol):
    """An answerer that lets a new sample in as soon as one leaves."""

    def stream(self, questions: Iterator[Question]) -> Iterator[tuple[int, Generation]]:
        """Position of the question in the order given, and its answer; in the order in which they are finished."""
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
        for batch in batches(items, self._batch_size):
            questions = [item.question for item in batch if item.question is not None]
            yield join(batch, self._answerer.answer(questions) if questions else [], self.name)


def answer_stream(model: Streamer, items: Iterator[Item], name: str) -> Generator[list[Finished], None, None]:
    """Every item as soon as it is finished; those without a question before the next answer."""
    asked: dict[int, Item] = {}
    failed: list[Item] = []

    def questions() -> Iterator[Question]:
        position = 0
        for item in items:
            if item.question is None:
                failed.append(item)
            else:
                asked[position] = item
                position += 1
                yield item.question

    for position, generation in model.stream(questions()):
        yield [*((item, unanswerable(item)) for item in failed), (asked.pop(position), generation)]
        failed.clear()
    if failed:
        yield [(item, unanswerable(item)) for item in failed]
    if asked:
        raise RuntimeError(f"{name} left {len(asked)} questions without an answer")
