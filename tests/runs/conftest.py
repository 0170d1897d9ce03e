"""Fixtures of the run loop's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import toy


@pytest.fixture(autouse=True, scope="session")
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prepared data sets of the tests stay out of the user's cache."""
    os.environ.setdefault("LMMS_EVAL_DATASETS_CACHE", str(tmp_path_factory.mktemp("datasets")))


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the toy tasks, ten rows each; there are no others."""
    return toy.use_tasks(toy.write_tasks(tmp_path / "tasks"), monkeypatch)
