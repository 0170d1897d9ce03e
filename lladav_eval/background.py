"""Threads that wait for others: requests to a model or a judge behind an address."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Runs calls in threads of their own, ``threads`` at a time; a context.

    Leaving it cancels what hasn't begun. After an error it waits for what has, whose replies may be paid for; after
    Ctrl-C nobody does, neither here nor at the end of the process, as an address may take minutes to answer. That is
    what ``concurrent.futures.ThreadPoolExecutor`` can't do.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._started = 0
        self._jobs: set[Future[Any]] = set()

    def submit(self, run: Callable[..., T], *arguments: Any) -> Future[T]:
        """The future of ``run(*arguments)``. To be called by one thread."""
        future: Future[T] = Future()
        self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)
        self._calls.put((future, lambda: run(*arguments)))
        if self._started < self._threads:
            self._started += 1
            threading.Thread(target=self._work, name="background", daemon=True).start()
        return future

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, run = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = run()
            except BaseException as error:
                future.set_exception(error)
                del error  # its frames would keep what they hold
            else:
                future.set_result(result)
                del result
            del call, future, run

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        begun = [job for job in list(self._jobs) if not job.cancel()]
        for _ in range(self._started):
            self._calls.put(None)
        if kind is not None and issubclass(kind, Exception):
            wait(begun)
