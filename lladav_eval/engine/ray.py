"""Workers placed and restarted by Ray, on this machine or on a cluster.

Ray is an optional package (``pip install 'lladav_eval[ray]'``). It decides on which node a worker runs and starts it
again after a death; which samples are asked again is decided here (crew.py), and the run's process alone writes the
journal. Images travel with their question. Assumed to be the same on every node: this package, the checkpoint and, for
videos, the data folder (the first two are checked before an answer counts).
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from lladav_eval.engine.crew import LOOK_AFTER, Answered, CrewEngine, Lost, check_same
from lladav_eval.engine.ray_cluster import connect, cpus_each, living_nodes
from lladav_eval.engine.threads import use_threads
from lladav_eval.engine.worker import Facts, Fault, Worker
from lladav_eval.errors import EnvironmentError_, EvalError, one_line
from lladav_eval.records import Answerer, Generation, Question

RESTARTS = 8
"""So often Ray starts one worker again."""
HINT_AFTER = 30.0
"""Seconds without any ready worker before the user is told what is waited for."""
GIVE_UP_AFTER = 1800.0
"""The same, before the run ends."""


def check_installed() -> None:
    """Raises EnvironmentError_ with the command that installs Ray."""
    if find_spec("ray") is None:
        raise EnvironmentError_("--engine ray needs the package ray: pip install 'lladav_eval[ray]'")


def ray_engine(
    load_model: Callable[[], Answerer],
    batch_size: int,
    *,
    workers: int | None = None,
    address: str | None = None,
    one_gpu_each: bool = True,
    time_limit: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> CrewEngine:
    """An engine of Ray actors.

    Args:
        load_model: must be importable on all nodes.
        batch_size: samples sent to a worker at once.
        workers: how many; None is one for every GPU of the cluster, or one.
        address: ``HOST:PORT``, ``auto`` or ``ray://HOST:PORT``; None is RAY_ADDRESS, or else a cluster started here,
            on the loopback interface, for this run alone.
        one_gpu_each: reserve a GPU for every worker where the cluster has any.
        time_limit: as in ``CrewEngine``.
        say: is told of dead and silent workers and of long waits.

    Raises:
        EnvironmentError_: if the cluster can't be reached or gives no worker.
    """
    return CrewEngine(Actors(load_model, workers, address, one_gpu_each, say), batch_size, say, time_limit)


class _Actor:
    """A worker as Ray runs it. Errors are returned, so that they reach the user in their own words."""

    def __init__(self, load_model: Callable[[], Answerer], threads: int | None) -> None:
        if threads is not None:
            use_threads(threads)
        self._load_model = load_model
        self._worker: Worker | None = None

    def load(self) -> Facts | Fault:
        try:
            self._worker = self._worker or Worker(self._load_model)
            return self._worker.facts()
        except Exception as error:
            return _fault(error)

    def answer(self, questions: Sequence[Question]) -> list[Generation] | Fault | None:
        """None if Ray restarted the worker since it loaded the model."""
        try:
            return None if self._worker is None else self._worker.answer(questions)
        except Exception as error:
            return _fault(error)


def _fault(error: Exception) -> Fault:
    if isinstance(error, EvalError):
        return Fault(type(error), str(error))
    return Fault(None, f"{type(error).__name__}: {error}", traceback.format_exc())


@dataclass
class _Member:
    actor: Any
    ready: bool = False
    batches: int = 0
    """Those it hasn't answered yet."""


class Actors:
    """The crew of Ray actors."""

    def __init__(
        self,
        load_model: Callable[[], Answerer],
        workers: int | None,
        address: str | None,
        one_gpu_each: bool,
        say: Callable[[str], None],
    ) -> None:
        import ray

        self._say = say
        self._facts: Facts | None = None
        self._crew: dict[int, _Member] = {}
        self._calls: dict[Any, int] = {}
        self._idle_since = time.monotonic()
        self._hinted = False
        self._ours = connect(address, say)
        try:
            gpus = int(ray.cluster_resources().get("GPU", 0)) if one_gpu_each else 0
            count = workers or gpus or 1
            cpus = 1 if gpus else cpus_each([node["Resources"].get("CPU", 0) for node in living_nodes()], count)
            self._asked_for = f"{count} of {cpus:g} CPU" + (" and 1 GPU" if gpus else "")
            remote = ray.remote(_Actor).options(
                num_cpus=cpus, num_gpus=1 if gpus else 0, max_restarts=RESTARTS, max_task_retries=0
            )
            for index in range(count):
                self._crew[index] = _Member(remote.remote(load_model, None if gpus else max(1, int(cpus))))
                self._load(index)
            while self._facts is None:
                self.wait()
        except BaseException:
            self.close()
            raise

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            raise RuntimeError("no worker is ready")
        return self._facts

    def _load(self, index: int) -> None:
        """Ask a new or restarted worker to load the model, whenever Ray has placed it."""
        member = self._crew[index]
        member.ready, member.batches = False, 0
        self._calls[member.actor.load.options(max_task_retries=-1).remote()] = index

    def __len__(self) -> int:
        return len(self._crew)

    def ready(self) -> Iterator[int]:
        return (index for index, member in self._crew.items() if member.ready)

    def ask(self, worker: int, questions: Sequence[Question]) -> None:
        member = self._crew[worker]
        member.batches += 1
        self._calls[member.actor.answer.remote(list(questions))] = worker

    def wait(self) -> Answered | Lost | None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        done, _ = ray.wait(list(self._calls), num_returns=1, timeout=LOOK_AFTER)
        if not done:
            self._check_patience()
            return None
        index = self._calls[done[0]]
        oldest = next(call for call, worker in self._calls.items() if worker == index)
        del self._calls[oldest]
        member = self._crew[index]
        try:
            result = ray.get(oldest)
        except RayTaskError as error:
            raise RuntimeError(f"in a worker: {one_line(error, 1000)}") from error
        except RayError as error:
            return self._lost(index, one_line(error))
        if isinstance(result, Fault):
            raise result.error()
        if isinstance(result, Facts):
            self._facts = self._facts or result
            check_same(self._facts, result)
            member.ready = True
            self._idle_since, self._hinted = time.monotonic(), False
            return None
        if result is None:
            return self._lost(index, "restarted while it had nothing to do")
        member.batches -= 1
        self._idle_since = time.monotonic()
        return Answered(index, list(enumerate(result)))

    def _lost(self, index: int, reason: str) -> Lost | None:
        """A worker died; loading again waits for Ray to restart it, and dies only with its last restart."""
        if self._crew[index].batches:
            return self._restarted(index, f"worker {index} died ({reason})")
        del self._crew[index]
        self._say(f"worker {index} is gone for good: {reason}")
        if not self._crew:
            raise EnvironmentError_(f"no worker is left; the last one: {reason}")
        return None

    def replace(self, worker: int, reason: str) -> Lost:
        import ray

        ray.kill(self._crew[worker].actor, no_restart=False)
        return self._restarted(worker, reason)

    def _restarted(self, index: int, reason: str) -> Lost:
        self._calls = {call: worker for call, worker in self._calls.items() if worker != index}
        self._load(index)
        return Lost(index, reason)

    def _check_patience(self) -> None:
        """Say what is waited for, and don't wait for ever, while no worker has work."""
        if any(member.ready for member in self._crew.values()):
            return
        waited = time.monotonic() - self._idle_since
        if waited > GIVE_UP_AFTER:
            raise EnvironmentError_(f"no worker was ready for {waited / 60:.0f} minutes: {self._shortage()}")
        if waited > HINT_AFTER and not self._hinted:
            self._hinted = True
            self._say(f"still waiting for a worker: {self._shortage()}")

    def _shortage(self) -> str:
        import ray

        free = ray.available_resources()
        return (
            f"asked for {self._asked_for}; free in the cluster: {free.get('CPU', 0):g} CPU, {free.get('GPU', 0):g} GPU"
        )

    def close(self) -> None:
        import ray

        if self._ours:
            ray.shutdown()  # ends the actors too
            return
        for member in self._crew.values():
            with contextlib.suppress(Exception):  # the cluster may be gone
                ray.kill(member.actor)
