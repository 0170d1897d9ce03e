"""Shared fixtures. Recorded material of others lives beside the checkout and is never copied into it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# What a function imports when it is first called, and a slow machine, make no test fail.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recorded outputs beside the checkout; tests that need it are skipped where it is absent."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("the recorded outputs of the authors' code (../shared) are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def golden_dir(shared_dir: Path) -> Path:
    """The recorded outputs of the authors' code on small random weights."""
    return shared_dir / "golden"


@pytest.fixture(scope="session", autouse=True)
def interrupts_arrive() -> None:
    """SIGINT as in a terminal: a job in the background of a shell inherits it ignored, and so would all it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
