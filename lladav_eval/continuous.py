"""Continuous batching: a finished sample leaves the batch and another takes its place.

Every sample walks through its own steps (sampling/loop.py) and positions are packed, so neither the company of a sample
nor the moment it joins changes its answer. Where memory runs out, the samples that came last go back to the queue, to
begin anew, and the batch stays smaller from there on.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from lladav_eval.batching import OUT_OF_MEMORY, is_out_of_memory, peak_memory, release_memory, watch_memory
from lladav_eval.errors import past_time
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.memory import PromptSize
from lladav_eval.records import Prompt, SamplingParams
from lladav_eval.sampling.loop import Sampled, Sampler, SamplingTokens
from lladav_eval.sampling.noise import SeededNoise


@dataclass(frozen=True)
class Job:
    """A sample that is ready to be answered."""

    index: int
    """Its place in the order given."""
    prompt: Prompt
    tokens: SamplingTokens
    seed: int
    """Of its own generator."""
    size: PromptSize
    """What ``Holds`` is asked about."""


@dataclass
class Cost:
    """What a sample's answer has cost so far, without what broke off for lack of memory and was done again.

    Seconds are its shares of what was done for several at a time.
    """

    began: float
    """When it joined, by ``time.perf_counter``."""
    encoding_seconds: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    prompt_tokens: int | None = None
    flops: float | None = None
    peak_memory: int | None = None


@dataclass(frozen=True)
class Done:
    """A sample that has left the batch: answered, or not and why."""

    index: int
    cost: Cost
    sampled: Sampled | None
    error: str | None = None


Holds = Callable[[Sequence[PromptSize]], bool]
"""Whether memory holds a batch of such prompts."""


class Batch:
    """Samples of equal settings under way on a model: at most ``width`` at a time, no more than memory ``holds``."""

    def __init__(
        self,
        model: LladavModel,
        params: SamplingParams,
        width: int,
        holds: Holds | None = None,
        *,
        trace: bool = False,
        time_limit: float | None = None,
    ) -> None:
        self.width = width
        self._holds = holds
        self._model = model
        self._params = params
        self._time_limit = time_limit
        self._bound = BoundPrompts(model, [], [])
        self._sampler = Sampler(self._bound, params, trace)
        self._running: dict[int, tuple[Job, Cost]] = {}
        self._waiting: deque[Job] = deque()

    def run(self, jobs: Iterable[Job]) -> Iterator[list[Done]]:
        """Answer all ``jobs``, drawn as there is room for them; gives the samples that left, step by step."""
        source = iter(jobs)
        while True:
            while self._has_room(self._waiting) and (job := next(source, None)) is not None:
                self._waiting.append(job)
            if not self._waiting and not self._running:
                return
            with torch.inference_mode():
                done = [*self._admit(), *self._step(), *self._expire()]
            if done:
                yield done

    def _admit(self) -> list[Done]:
        """Let in what there is room for, all media encoded together; gives the samples that are too large."""
        joining: list[Job] = []
        while self._waiting and self._has_room(joining, self._waiting[0]):
            joining.append(self._waiting.popleft())
        if not joining:
            return []
        watch_memory(self._model.device)
        try:
            return self._bind(joining)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        release_memory(self._model.device)  # after the handler: a traceback keeps the tensors of its frames alive
        if len(joining) == 1 and not self._running:
            return [Done(joining[0].index, Cost(time.perf_counter()), None, OUT_OF_MEMORY)]
        self.width = len(self._running) + len(joining) // 2
        self._waiting.extendleft(reversed(joining))
        return []

    def _has_room(self, joining: Sequence[Job], another: Job | None = None) -> bool:
        """Whether beside those running and ``joining`` there is room for ``another``, or one not seen yet.

        One alone always has room.
        """
        there = [*(job.size for job, _ in self._running.values()), *(job.size for job in joining)]
        if not there or self._holds is None or len(there) >= self.width:
            return len(there) < self.width
        return self._holds(there if another is None else [*there, another.size])

    def _bind(self, joining: list[Job]) -> list[Done]:
        began = time.perf_counter()
        numbers = self._bound.add([job.prompt for job in joining])
        share = (time.perf_counter() - began) / len(joining)
        refused = []
        for job, number in zip(joining, numbers, strict=True):
            ids = self._bound.token_ids[number]
            cost = Cost(began, share, prompt_tokens=len(ids))
            length = len(ids) + self._params.gen_length + len(job.tokens.suffix_ids)
            if length > self._model.config.max_length:
                self._bound.release(number)
                refused.append(Done(job.index, cost, None, too_long(length, self._model.config.max_length)))
                continue
            self._running[number] = (job, cost)
            self._sampler.add(number, ids, job.tokens, SeededNoise(job.seed))
        return refused

    def _step(self) -> list[Done]:
        """One denoising step for all; gives the samples that it finished."""
        active = self._sampler.active
        if not active:
            return []
        started, spent = time.perf_counter(), list(self._bound.flops)
        try:
            finished = self._sampler.step()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            share = (time.perf_counter() - started) / len(active)
            for number in active:
                self._running[number][1].step_seconds.append(share)
            return [self._leave(number, sampled) for number, sampled in finished.items()]
        self._bound.flops[:] = spent  # costs are those of the answer: what broke off is done again and counts once
        return self._shrink(active)

    def _shrink(self, active: tuple[int, ...]) -> list[Done]:
        """Make room after a step that didn't fit in memory."""
        alone = len(active) == 1
        done = [self._leave(active[0], None, OUT_OF_MEMORY)] if alone else []
        self.width = math.ceil(len(active) / 2)
        # A step that broke off may have renewed a part of an approximate mode's cache, or drawn noise: all begin anew.
        anew = self._params.approximate or self._params.temperature > 0
        for number in () if alone else reversed(active[0 if anew else self.width :]):
            job, _ = self._running.pop(number)
            self._forget(number)
            self._waiting.appendleft(job)
        release_memory(self._model.device)
        return done

    def _expire(self) -> list[Done]:
        """Samples that have been here longer than the time limit."""
        if self._time_limit is None:
            return []
        latest = time.perf_counter() - self._time_limit
        late = [number for number in self._sampler.active if self._running[number][1].began < latest]
        return [self._leave(number, None, past_time(self._time_limit)) for number in late]

    def _leave(self, number: int, sampled: Sampled | None, error: str | None = None) -> Done:
        job, cost = self._running.pop(number)
        cost.flops = self._bound.flops[number]
        cost.peak_memory = peak_memory(self._model.device)
        self._forget(number)
        return Done(job.index, cost, sampled, error)

    def _forget(self, number: int) -> None:
        if number in self._sampler.active:
            self._sampler.drop(number)
        self._bound.release(number)


def too_long(length: int, limit: int) -> str:
    """Why a sample of ``length`` positions isn't answered."""
    return (
        f"prompt and answer take {length} positions, the model was trained for {limit}; "
        "use fewer images, fewer frames or a shorter question"
    )
