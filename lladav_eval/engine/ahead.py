"""Making the next items beside the work on the present ones."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Ended:
    """Nothing more comes: the items ran out, or making one failed."""

    error: BaseException | None


class Ahead(Generic[T]):
    """Items made by a thread, at most ``depth`` of them waiting. Close it, or use it as a context.

    An error while making an item comes to the reader after the items before it.
    """

    def __init__(self, items: Iterator[T], depth: int, total: Callable[[], int] = lambda: 0) -> None:
        """``total`` gives about how many items there are, as far as is known by then."""
        self._items = items
        self._total = total
        self._read = 0
        self._waiting: queue.Queue[T | _Ended] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._make, name="items ahead", daemon=True)
        self._thread.start()

    def _make(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as met:
            error = met
        self._put(_Ended(error))

    def _put(self, item: T | _Ended) -> bool:
        """Wait for room; False once nobody reads any more."""
        while not self._stop.is_set():
            try:
                self._waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[T]:
        return self

    def __length_hint__(self) -> int:
        """About how many items are still to be read."""
        return max(0, self._total() - self._read)

    def __next__(self) -> T:
        if self._stop.is_set():
            raise StopIteration
        item = self._waiting.get()
        if not isinstance(item, _Ended):
            self._read += 1
            return item
        self._stop.set()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """Stop after the item being made now."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(queue.Full):  # nobody waits before a full queue
            self._waiting.put_nowait(_Ended(None))

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
