"""One test at a time starts Ray: its client servers have fixed ports, and test processes run side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock


@contextmanager
def ray_alone() -> Iterator[None]:
    with FileLock(Path(tempfile.gettempdir()) / "lladav-eval-ray-tests.lock"):
        yield


@pytest.fixture
def only_ray_here() -> Iterator[None]:
    """For a test that starts Ray itself."""
    with ray_alone():
        yield


@pytest.fixture(scope="module")
def only_cluster_here() -> Iterator[None]:
    """For a cluster that a module's tests share."""
    with ray_alone():
        yield
