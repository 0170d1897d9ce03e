"""Services that a task's own functions ask. Judges need a key in the environment; without one those functions guess.

lmms-eval's functions try a service that refuses them for most of a minute per answer, then draw a letter or give 0. So
where there is no key they are stopped as soon as they look up the service's address; and that is tried out, on answers
that say nothing, before a model is loaded. While it is tried out, and offline, they reach nobody at all: EgoSchema's,
for one, sends the answers to a server that scores them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

KEYS = ("OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_OPENAI_API_KEY")
SERVICES = {
    "api.openai.com": KEYS,
    ".openai.azure.com": KEYS,
    "api.cognitive.microsoft.com": KEYS,
    "api.deepseek.com": ("Deepseek_API",),  # PhyX
}
"""Where lmms-eval's functions go unless an address is set, and what may hold the key; a name that begins with a dot is
the end of several."""
NEAR = ("", "None", "localhost", "127.0.0.1", "::1")
"""Names of this machine, which may be looked up offline."""


class JudgeAsked(SystemExit):
    """Not an Exception, which those functions catch to try again."""


class _Guard:
    """Stands in for the look-up of addresses while somebody wants it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[list[str]] = []
        """One list for each context that is open."""
        self._closed = 0
        """How many of them let nothing through."""
        self._look_up = socket.getaddrinfo

    def enter(self, asked: list[str], closed: bool) -> None:
        with self._lock:
            if not self._asked:
                self._look_up, socket.getaddrinfo = socket.getaddrinfo, self._refuse
            self._asked.append(asked)
            self._closed += closed

    def leave(self, asked: list[str], closed: bool) -> None:
        with self._lock:
            self._closed -= closed
            self._asked = [other for other in self._asked if other is not asked]
            if not self._asked:
                socket.getaddrinfo = self._look_up

    def _refuse(self, host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        if key := missing_key(name):
            for asked in self._asked:
                asked.append(name)
            raise JudgeAsked(f"it asks a judge at {name}, and there is no key for one: set {key}")
        if self._closed and name not in NEAR:
            raise JudgeAsked(f"it asks {name}, and nothing is asked offline")
        return self._look_up(host, *arguments, **options)


_guard = _Guard()


def missing_key(name: str) -> str | None:
    """What to set for the judge at an address; None where a key is set, and where no judge is known."""
    for service, keys in SERVICES.items():
        if name == service or (service[0] == "." and name.endswith(service)):
            return None if any(os.environ.get(key) for key in keys) else keys[0]
    return None


def has_key() -> bool:
    """Whether the environment has a key for the usual judge."""
    return any(os.environ.get(name) for name in KEYS)


@contextlib.contextmanager
def without_judges(closed: bool = False) -> Iterator[list[str]]:
    """No judge is reached from inside, unless the environment has a key. Gives the names that were looked up.

    ``closed``: nobody else is reached either, as offline.
    """
    asked: list[str] = []
    closed = closed or os.environ.get("HF_HUB_OFFLINE") == "1"
    _guard.enter(asked, closed)
    try:
        yield asked
    finally:
        _guard.leave(asked, closed)
