"""Judges that a task's own functions ask: they need a key in the environment, and without one they guess.

lmms-eval's functions try a service that refuses them for most of a minute per answer, then draw a letter or give 0. So
where there is no key they are stopped as soon as they look up the service's address; and that is tried out, on answers
that say nothing, before a model is loaded.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

KEYS = ("OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_OPENAI_API_KEY")
SERVICES = ("api.openai.com", ".openai.azure.com", "api.cognitive.microsoft.com")
"""Where lmms-eval's functions go unless an address is set; a name that begins with a dot is the end of several."""


class JudgeAsked(SystemExit):
    """Not an Exception, which those functions catch to try again."""


class _Guard:
    """Stands in for the look-up of addresses while somebody wants it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[list[str]] = []
        """One list for each context that is open."""
        self._look_up = socket.getaddrinfo

    def enter(self, asked: list[str]) -> None:
        with self._lock:
            if not self._asked:
                self._look_up, socket.getaddrinfo = socket.getaddrinfo, self._refuse
            self._asked.append(asked)

    def leave(self, asked: list[str]) -> None:
        with self._lock:
            self._asked = [other for other in self._asked if other is not asked]
            if not self._asked:
                socket.getaddrinfo = self._look_up

    def _refuse(self, host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        if any(name == service or (service[0] == "." and name.endswith(service)) for service in SERVICES):
            for asked in self._asked:
                asked.append(name)
            raise JudgeAsked(f"it asks a judge at {name}, and there is no key for one: set {KEYS[0]}")
        return self._look_up(host, *arguments, **options)


_guard = _Guard()


@contextlib.contextmanager
def without_judges() -> Iterator[list[str]]:
    """No judge is reached from inside, unless the environment has a key. Gives the names that were looked up."""
    asked: list[str] = []
    if any(os.environ.get(name) for name in KEYS):
        yield asked
        return
    _guard.enter(asked)
    try:
        yield asked
    finally:
        _guard.leave(asked)
