"""Several processes on this machine, each with a model of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler

import psutil

from lladav_eval.engine.crew import LOOK_AFTER, Answered, CrewEngine, Lost, check_same
from lladav_eval.engine.threads import use_threads
from lladav_eval.engine.worker import Facts, Fault, Worker
from lladav_eval.errors import EnvironmentError_, EvalError
from lladav_eval.records import Answerer, Question

FAILED_STARTS = 3
"""So many workers in a row that die before they are ready end the run."""
PATIENCE = 5.0
"""Seconds that the end of a worker is waited for."""


def process_engine(
    load_model: Callable[[], Answerer],
    batch_size: int,
    *,
    workers: int,
    one_gpu_each: bool = True,
    time_limit: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> CrewEngine:
    """An engine of ``workers`` processes; ``load_model`` must be importable by them.

    Where there are GPUs and ``one_gpu_each``, a worker sees one of them, in turn. ``time_limit`` and ``say`` are as in
    ``CrewEngine``.
    """
    return CrewEngine(Processes(load_model, workers, _gpus() if one_gpu_each else []), batch_size, say, time_limit)


@dataclass
class _Process:
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    batches: int = 0
    """Those it hasn't answered yet."""
    outbox: queue.SimpleQueue[memoryview | None] = field(default_factory=queue.SimpleQueue)
    """What is sent to it by a thread, as one that hangs takes nothing in; None is the end."""

    def send_all(self) -> None:
        """The thread's work."""
        with contextlib.suppress(OSError):  # it is dead: its end of the pipe says so to ``wait``
            while (batch := self.outbox.get()) is not None:
                self.connection.send_bytes(batch)

    def end(self) -> None:
        """Now, whatever it does; with what it started, such as a decoder of videos that hangs as well."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
        self.process.kill()
        self.process.join(PATIENCE)
        self.outbox.put(None)


class Processes:
    """The crew of worker processes; answers come through a pipe each."""

    def __init__(self, load_model: Callable[[], Answerer], count: int, gpus: Sequence[str]) -> None:
        self._load_model = load_model
        self._gpus = gpus
        self._threads = max(1, _cpus() // count)
        self._failed_starts = 0
        self._heard_last = -1
        self._facts: Facts | None = None
        self._crew: list[_Process] = []
        try:
            for index in range(count):
                self._crew.append(self._start(index))
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

    def _start(self, index: int) -> _Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        gpu = self._gpus[index % len(self._gpus)] if self._gpus else None
        process = context.Process(
            target=_work, args=(theirs, self._load_model, self._threads, gpu), name=f"worker {index}", daemon=True
        )
        with _without_ctrl_c():
            process.start()
        theirs.close()  # so that its death closes the pipe
        started = _Process(process, ours)
        threading.Thread(target=started.send_all, name=f"to worker {index}", daemon=True).start()
        return started

    def __len__(self) -> int:
        return len(self._crew)

    def ready(self) -> Iterator[int]:
        return (index for index, one in enumerate(self._crew) if one.ready)

    def ask(self, worker: int, questions: Sequence[Question]) -> None:
        one = self._crew[worker]
        one.batches += 1
        one.outbox.put(ForkingPickler.dumps(list(questions)))

    def wait(self) -> Answered | Lost | None:
        heard = wait([one.connection for one in self._crew], LOOK_AFTER)
        if not heard:
            return None
        # In turn, so that one that always has something to say doesn't drown the others.
        turns = (turn % len(self._crew) for turn in range(self._heard_last + 1, self._heard_last + 1 + len(self._crew)))
        self._heard_last = index = next(turn for turn in turns if self._crew[turn].connection in heard)
        one = self._crew[index]
        try:
            message = one.connection.recv()
        except (EOFError, OSError):
            return self._replace_dead(index)
        if isinstance(message, Fault):
            raise message.error()
        if isinstance(message, Facts):
            self._facts = self._facts or message
            check_same(self._facts, message)
            one.ready, self._failed_starts = True, 0
            return None
        part, missing = message
        one.batches -= missing == 0
        return Answered(index, part)

    def replace(self, worker: int, reason: str) -> Lost:
        self._crew[worker].end()
        self._crew[worker] = self._start(worker)
        return Lost(worker, reason)

    def _replace_dead(self, index: int) -> Lost | None:
        dead = self._crew[index]
        dead.process.join(PATIENCE)
        dead.outbox.put(None)
        reason = f"worker {index} died ({_how(dead.process.exitcode)})"
        if not dead.ready:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise EnvironmentError_(
                    f"{reason} while it loaded the model, the {FAILED_STARTS}. such death in a row: "
                    "use fewer --workers, or make memory free"
                )
        self._crew[index] = self._start(index)
        return Lost(index, reason) if dead.batches else None

    def close(self) -> None:
        for one in self._crew:
            one.end()


def _how(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    return f"{name}, as when memory runs out" if name == "SIGKILL" else name


def _cpus() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> list[str]:
    """Names of the CUDA devices to share out, as CUDA_VISIBLE_DEVICES wants them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    if visible is None:
        return [str(index) for index in range(count)]
    names = visible.split(",")
    # A process sees one instance of a divided GPU (MIG) only, however many are named.
    return names if count and all(name.strip().startswith("MIG-") for name in names) else names[:count]


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """A process started here never sees Ctrl-C, which the terminal sends to all: its parent ends it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which unblocks the signal when it has to start its own process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, load_model: Callable[[], Answerer], threads: int, gpu: str | None) -> None:
    """The life of a worker process."""
    threading.Thread(target=_die_with_parent, name="parent watch", daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    use_threads(threads)
    try:
        worker = Worker(load_model)
        connection.send(worker.facts())
        batches: queue.SimpleQueue[Sequence[Question] | Exception] = queue.SimpleQueue()
        threading.Thread(target=_receive, args=(connection, batches), name="batches", daemon=True).start()
        while not isinstance(batch := batches.get(), Exception):
            _answer(worker, batch, connection)
        raise batch
    except (EOFError, BrokenPipeError):
        return  # the run is over
    except EvalError as error:
        connection.send(Fault(type(error), str(error)))
    except Exception as error:
        connection.send(Fault(None, f"{type(error).__name__}: {error}", traceback.format_exc()))


def _receive(connection: Connection, batches: queue.SimpleQueue[Sequence[Question] | Exception]) -> None:
    """Take batches in as they come, so that sending one never waits for the one before; the last is the error."""
    try:
        while True:
            batches.put(connection.recv())
    except Exception as error:
        batches.put(error)


def _answer(worker: Worker, questions: Sequence[Question], connection: Connection) -> None:
    missing = len(questions)
    for part in worker.parts(questions):
        missing -= len(part)
        connection.send((part, missing))
    if missing:
        raise RuntimeError(f"{worker.facts().name} answered {missing} questions too few")


def _die_with_parent() -> None:
    """End at once when the run's process is gone, in the middle of a batch too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
