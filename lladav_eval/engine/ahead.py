"""Making the next items beside the work on the present ones."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_BYTES = 256 << 20
"""Memory that items which wait may take together; one may always wait."""


class Ahead(Generic[T]):
    """Items made by a thread; at most ``depth`` of them wait, fewer where they are large. Close it, or use it as a
    context.

    An error while making an item comes to the reader after the items before it.
    """

    def __init__(
        self,
        items: Iterator[T],
        depth: int,
        total: Callable[[], int] = lambda: 0,
        size: Callable[[T], int] = lambda _: 0,
    ) -> None:
        """``total`` gives about how many items there are, as far as is known by then, ``size`` an item's bytes."""
        self._items = items
        self._depth = depth
        self._total = total
        self._size = size
        self._read = 0
        self._waiting: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._ended = False
        """Nothing more is made."""
        self._error: BaseException | None = None
        """Why, unless the items ran out or nobody reads any more."""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._make, name="items ahead", daemon=True)
        self._thread.start()

    def _make(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:
            self._error = None if self._ended else error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _put(self, item: T) -> bool:
        """Wait for room; False once nobody reads any more."""
        size = self._size(item)
        with self._changed:
            while not (self._ended or self._has_room(size)):
                self._changed.wait()
            if self._ended:
                return False
            self._waiting.append((item, size))
            self._bytes += size
            self._changed.notify()
        return True

    def _has_room(self, size: int) -> bool:
        return not self._waiting or (len(self._waiting) < self._depth and self._bytes + size <= MOST_BYTES)

    def __iter__(self) -> Iterator[T]:
        return self

    def __length_hint__(self) -> int:
        """About how many items are still to be read."""
        return max(0, self._total() - self._read)

    def __next__(self) -> T:
        with self._changed:
            while not (self._waiting or self._ended):
                self._changed.wait()
            if self._waiting:
                item, size = self._waiting.popleft()
                self._bytes -= size
                self._read += 1
                self._changed.notify()
                return item
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self, wait: bool = True) -> None:
        """Stop after the item being made now; nothing is left to read."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()
        if wait:
            self._thread.join()

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self.close(wait=kind is None or issubclass(kind, Exception))  # after Ctrl-C nobody waits
