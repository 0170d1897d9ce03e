"""Fixtures of the run loop's tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for ``import toy``


@pytest.fixture(autouse=True, scope="session")
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prepared data sets of the tests stay out of the user's cache."""
    os.environ.setdefault("LMMS_EVAL_DATASETS_CACHE", str(tmp_path_factory.mktemp("datasets")))
