"""A Ray cluster joined or started, and how its CPUs are shared among workers."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lladav_eval.errors import EnvironmentError_, one_line

ADDRESS_VARIABLE = "RAY_ADDRESS"
CLIENT_TRIES = 4
"""The head forks a process for every client of ``ray://``; some die at once in the fork (ray-project/ray#63202)."""
_DEAD_AT_ONCE = ("Starting Ray client server failed", "Proxy failed to Connect to backend")


def connect(address: str | None, say: Callable[[str], None]) -> bool:
    """Join the cluster at ``address``, or start one; False if this process was in one already.

    Raises EnvironmentError_ if there is none; this process can still join another.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    import ray

    if ray.is_initialized():
        return False
    address = address or os.environ.get(ADDRESS_VARIABLE)
    _check_reachable(address)
    tries_left = CLIENT_TRIES
    while True:
        tries_left -= 1
        try:
            _init(address)
            return True
        except (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError) as error:
            ray.shutdown()  # or Ray takes this process for a client for ever
            if not tries_left or not any(message in str(error) for message in _DEAD_AT_ONCE):
                where = f"the Ray cluster at {address} can't be used" if address else "Ray can't be started here"
                raise EnvironmentError_(f"{where}: {_reason(error)}") from error
        say(f"Ray's server for this client died while it started; trying again ({tries_left} more)")


def _init(address: str | None) -> None:
    import ray

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options |= {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    else:
        options["address"] = address
    with _keep_sigterm():
        ray.init(**options)


def _reason(error: Exception) -> str:
    """What went wrong: the last line, where the message is the traceback of a server."""
    message = str(error).strip()
    return message.splitlines()[-1] if "Traceback" in message else one_line(error)


def _check_reachable(address: str | None) -> None:
    """Ray itself tries for minutes. Raises EnvironmentError_."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise EnvironmentError_(f"no Ray cluster answers at {address}: {one_line(error)}") from error


@contextlib.contextmanager
def _keep_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own in place, which would end the run without a word."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def living_nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def cpus_each(nodes: Sequence[float], workers: int) -> float:
    """The most CPUs that ``workers`` can have each, so that all find a node; less than one where CPUs are too few."""
    for cpus in range(int(max(nodes, default=0)), 0, -1):
        if sum(int(node // cpus) for node in nodes) >= workers:
            return cpus
    return max(0.01, int(100 * sum(nodes) / workers) / 100) if sum(nodes) else 1
