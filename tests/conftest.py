"""Shared fixtures. Recorded material of others lives beside the checkout and is never copied into it."""

from __future__ import annotations

from pathlib import Path

import pytest

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
