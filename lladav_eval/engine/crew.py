"""Dealing batches to workers that may die: nothing lost, nothing doubled, one place where answers meet.

A batch whose worker died is asked again, one sample at a time, of whichever worker is free: a sample that takes its
worker down fails alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from lladav_eval.engine.base import Finished, Item, batches, unanswerable
from lladav_eval.engine.worker import Facts, Part
from lladav_eval.errors import EnvironmentError_
from lladav_eval.records import Generation, Question

DEATHS = 3
"""A sample whose worker died so often, the last times with this sample alone, is a failed sample."""


@dataclass(frozen=True)
class Answered:
    """A worker's answers to some of its batch."""

    worker: int
    part: Part


@dataclass(frozen=True)
class Lost:
    """A worker died over its batch."""

    worker: int
    reason: str


class Crew(Protocol):
    """Workers that answer one batch each at a time; dead ones are replaced, within bounds."""

    @property
    def facts(self) -> Facts:
        """What the first worker that was ready has loaded; all others have the same."""
        ...

    def free(self) -> int | None:
        """A worker that is ready and has nothing to do."""
        ...

    def ask(self, worker: int, questions: Sequence[Question]) -> None:
        """Send a batch to a free worker. A worker that died meanwhile is told by ``wait``."""
        ...

    def wait(self) -> Answered | Lost | None:
        """What happened next; None if it concerns no batch (a worker became ready).

        Raises the errors of workers, and EnvironmentError_ where no worker can be kept alive.
        """
        ...

    def close(self) -> None:
        """End all workers now, whatever they do."""
        ...


def check_same(first: Facts, other: Facts) -> None:
    """Answers of other weights must not meet in one run. Raises EnvironmentError_."""
    if first.fingerprint != other.fingerprint:
        raise EnvironmentError_(
            f"workers loaded different models: {first.fingerprint} on {first.host}, {other.fingerprint} on "
            f"{other.host}: give --dtype, and the same checkpoint to all machines"
        )


@dataclass
class _Batch:
    """Items for one worker."""

    left: dict[int, Item]
    """Those without an answer, by the position of their question."""
    finished: list[Finished] = field(default_factory=list)
    """Those that need no worker any more."""
    deaths: int = 0
    """Workers that died over it."""

    @classmethod
    def of(cls, items: Sequence[Item]) -> _Batch:
        asked = [item for item in items if item.question is not None]
        return cls(dict(enumerate(asked)), [(item, unanswerable(item)) for item in items if item.question is None])

    def questions(self) -> list[Question]:
        return [item.question for item in self.left.values() if item.question is not None]

    def take(self, part: Part) -> list[Finished]:
        """Join answers with their items. Raises KeyError for an answer that nobody waits for."""
        return [(self.left.pop(position), generation) for position, generation in part]

    def after_death(self, reason: str) -> Iterator[_Batch]:
        """What becomes of the items without an answer."""
        deaths = self.deaths + 1
        for item in self.left.values():
            if len(self.left) == 1 and deaths >= DEATHS:
                failure = Generation.failure(f"{deaths} workers died over this sample, the last one: {reason}")
                yield _Batch({}, [(item, failure)])
            else:
                yield _Batch({0: item}, deaths=deaths)


class CrewEngine(AbstractContextManager["CrewEngine"]):
    """An engine of several workers; ``say`` is told of those that died."""

    def __init__(self, crew: Crew, batch_size: int, say: Callable[[str], None]) -> None:
        self._crew = crew
        self._batch_size = batch_size
        self._say = say

    def __exit__(self, *exc: object) -> None:
        self._crew.close()

    @property
    def name(self) -> str:
        return self._crew.facts.name

    @property
    def fingerprint(self) -> str:
        return self._crew.facts.fingerprint

    def description(self) -> dict[str, Any]:
        return self._crew.facts.description

    def answer(self, items: Iterator[Item]) -> Generator[list[Finished], None, None]:
        fresh = batches(items, self._batch_size)
        again: deque[_Batch] = deque()
        asked: dict[int, _Batch] = {}
        done: list[list[Finished]] = []
        more = True
        while more or again or asked or done:
            while (more or again) and (worker := self._crew.free()) is not None:
                batch = again.popleft() if again else _Batch.of(next(fresh, ()))
                more = more and bool(batch.left or batch.finished)
                if batch.finished:
                    done.append(batch.finished)
                if batch.left:
                    self._crew.ask(worker, batch.questions())
                    asked[worker] = batch
            yield from done  # while the workers are busy with what comes next
            done.clear()
            event = self._crew.wait() if more or again or asked else None
            if isinstance(event, Answered):
                batch = asked[event.worker]
                if event.part:
                    done.append(batch.take(event.part))
                if not batch.left:
                    del asked[event.worker]
            elif isinstance(event, Lost):
                batch = asked.pop(event.worker)
                self._say(f"{event.reason}; its {len(batch.left)} samples are asked again")
                again.extend(batch.after_death(event.reason))
