"""Ctrl-C and SIGTERM (a cluster's time limit), which end what is under way in the same manner."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_came = threading.Event()


class _Interrupt(KeyboardInterrupt):
    """Not KeyboardInterrupt itself: once that has passed through an ``exec``, Python ends by the signal, not by the
    exit code."""


def _interrupt(*_: object) -> None:
    _came.set()
    raise _Interrupt


@contextlib.contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Both signals raise KeyboardInterrupt, and the event says that one came; signals reach the main thread only.

    An exception that a signal raises inside a library may be lost: in a finalizer, or in an import that then fails.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    if signal.getsignal(signal.SIGTERM) is not _interrupt:
        _came.clear()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # whoever calls us may have another wish
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield _came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
