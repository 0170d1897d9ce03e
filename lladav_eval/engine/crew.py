"""Dealing batches to workers that may die: nothing lost, nothing doubled, one place where answers meet.

A worker has the next batch before it is through with one, so it never waits for us. The batch over which a worker died
is asked again, one sample at a time, of whichever worker has room: a sample that takes its worker down fails alone. A
worker that hangs is ended where the time limit says that it does, and named where there is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from operator import length_hint
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from lladav_eval.engine.base import MOST_BYTES, Finished, Item, batches, unanswerable
from lladav_eval.engine.worker import Facts, Part
from lladav_eval.errors import EnvironmentError_
from lladav_eval.records import Generation, Question, VideoClip

DEATHS = 3
"""A sample whose worker died so often, the last times with this sample alone, is a failed sample."""

BATCHES_EACH = 2
"""Batches a worker has at most: the one it works on and the next."""
STREAM_BATCHES = 2
"""Batches sent together to a worker that streams, so that its places stay taken while the first one runs out."""
SMALL_BATCH = 8
"""Batches don't get smaller than this towards the end of a run."""

LOOK_AFTER = 1.0
"""Seconds after which a crew stops waiting, so that somebody looks for workers that hang."""
QUIET = 60.0
"""Seconds a worker may be silent over its batch beyond its samples' time limits, and before the user is told."""
LONGEST_VIDEO = 900.0
"""Seconds more for a video: so long may it be decoded (processing/video_reader.py), and no time limit counts it."""


@dataclass(frozen=True)
class Answered:
    """A worker's answers to some of its oldest batch."""

    worker: int
    part: Part


@dataclass(frozen=True)
class Lost:
    """A worker died or hung over its oldest batch; those behind it are lost with it."""

    worker: int
    reason: str


class Crew(Protocol):
    """Workers that answer their batches one after another; dead ones are replaced, within bounds."""

    @property
    def facts(self) -> Facts:
        """What the first worker that was ready has loaded; all others have the same."""
        ...

    def __len__(self) -> int:
        """Workers, ready or not."""
        ...

    def ready(self) -> Iterable[int]:
        """Workers that have loaded their model."""
        ...

    def ask(self, worker: int, questions: Sequence[Question]) -> None:
        """Send a batch to a ready worker. A worker that died meanwhile is told by ``wait``."""
        ...

    def wait(self) -> Answered | Lost | None:
        """What happened next; None if it concerns no batch (a worker became ready), or nothing did for a while.

        Raises the errors of workers, and EnvironmentError_ where no worker can be kept alive.
        """
        ...

    def replace(self, worker: int, reason: str) -> Lost:
        """End a worker that hangs over its oldest batch, and put a fresh one in its place."""
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

    def seconds(self, time_limit: float) -> float:
        """How long a worker may be silent over it: its samples may be answered one after the other."""
        videos = (question.request.video for question in self.questions())
        longest = LONGEST_VIDEO if any(isinstance(video, str | Path | VideoClip) for video in videos) else 0.0
        return QUIET + longest + len(self.left) * time_limit

    def take(self, part: Part) -> list[Finished]:
        """Join answers with their items. Raises KeyError for an answer that nobody waits for."""
        return [(self.left.pop(position), generation) for position, generation in part]

    def after_death(self, reason: str) -> Iterator[_Batch]:
        """What becomes of the items without an answer."""
        deaths = self.deaths + 1
        for item in self.left.values():
            if deaths >= DEATHS:
                failure = Generation.failure(f"{deaths} workers died over this sample, the last one: {reason}")
                yield _Batch({}, [(item, failure)])
            else:
                yield _Batch({0: item}, deaths=deaths)


class _Silence:
    """How long busy workers have said nothing. Only the time spent listening counts: what lies unread is no silence."""

    def __init__(self, time_limit: float | None, say: Callable[[str], None]) -> None:
        self._time_limit = time_limit
        self._say = say
        self._seconds: dict[int, float] = {}
        self._told: dict[int, float] = {}
        """The longest silence of a worker that the user knows of."""

    def note(self, seconds: float, busy: Iterable[int], heard: int | None) -> None:
        """Nobody but ``heard`` said anything for so many seconds."""
        before = self._seconds
        self._seconds = {worker: 0.0 if worker == heard else before.get(worker, 0.0) + seconds for worker in busy}

    def hung(self, busy: Mapping[int, Sequence[_Batch]]) -> tuple[int, str] | None:
        """A worker that hangs, and the reason to tell; who has merely been silent for long is told of."""
        for worker, silent in self._seconds.items():
            if silent < QUIET:
                continue
            batch, allowed = busy[worker][0], "--time-limit would tell whether it hangs"
            if self._time_limit is not None:
                most = batch.seconds(self._time_limit)
                if silent > most:
                    self._seconds[worker] = 0.0
                    return worker, f"worker {worker} hung: it was silent for {silent:.0f} s"
                allowed = f"it is ended after {most:.0f} s"
            if silent >= 2 * self._told.get(worker, 0.0):
                self._told[worker] = silent
                what = f"has been silent for {silent:.0f} s over {len(batch.left)} samples"
                self._say(f"worker {worker} {what}; {allowed}")
        return None


class CrewEngine(AbstractContextManager["CrewEngine"]):
    """An engine of several workers; ``say`` is told of those that died or say nothing.

    With a ``time_limit`` for each sample, those that say nothing for much longer are replaced.
    """

    def __init__(
        self, crew: Crew, batch_size: int, say: Callable[[str], None], time_limit: float | None = None
    ) -> None:
        self._crew = crew
        self._silence = _Silence(time_limit, say)
        self._batch_size = batch_size * (STREAM_BATCHES if crew.facts.streams else 1)
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

    def _size(self, left: int) -> int:
        """Smaller batches towards the end, so that all workers end together; ``left`` is a guess."""
        fair = left // (2 * max(1, len(self._crew)))
        return min(self._batch_size, max(SMALL_BATCH, fair))

    def _with_room(self, asked: Mapping[int, Sized]) -> int | None:
        """The ready worker with the fewest batches, if it may have another: only the first until all are ready."""
        load = {worker: len(asked.get(worker, ())) for worker in self._crew.ready()}
        worker = min(load, key=load.__getitem__, default=None)
        most = BATCHES_EACH if len(load) == len(self._crew) else 1
        return None if worker is None or load[worker] >= most else worker

    def _next_event(self, asked: Mapping[int, Sequence[_Batch]]) -> Answered | Lost | None:
        if (hung := self._silence.hung(asked)) is not None:
            return self._crew.replace(*hung)
        began = monotonic()
        event = self._crew.wait()
        self._silence.note(monotonic() - began, asked, None if event is None else event.worker)
        return event

    def answer(self, items: Iterator[Item]) -> Generator[list[Finished], None, None]:
        fresh = batches(items, lambda: self._size(length_hint(items, 1 << 30)), MOST_BYTES // BATCHES_EACH)
        again: deque[_Batch] = deque()
        asked: dict[int, deque[_Batch]] = {}
        done: list[list[Finished]] = []
        more = True
        while more or again or asked or done:
            while (more or again) and (worker := self._with_room(asked)) is not None:
                batch = again.popleft() if again else _Batch.of(next(fresh, ()))
                more = more and bool(batch.left or batch.finished)
                if batch.finished:
                    done.append(batch.finished)
                if batch.left:
                    self._crew.ask(worker, batch.questions())
                    asked.setdefault(worker, deque()).append(batch)
            yield from done  # while the workers are busy with what comes next
            done.clear()
            event = self._next_event(asked) if more or again or asked else None
            if isinstance(event, Answered):
                batch = asked[event.worker][0]
                if event.part:
                    done.append(batch.take(event.part))
                if not batch.left:
                    asked[event.worker].popleft()
                if not asked[event.worker]:
                    del asked[event.worker]
            elif isinstance(event, Lost):
                batch, *behind = asked.pop(event.worker)
                samples = sum(len(one.left) for one in (batch, *behind))
                self._say(f"{event.reason}; its {samples} samples are asked again")
                again.extend(batch.after_death(event.reason))
                again.extend(_Batch(one.left, deaths=one.deaths) for one in behind)
