"""Recordings of the authors' code that lie beside the checkout (../shared/golden), known while tests are collected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"


def recorded(file: str) -> Any:
    """The content of one of their JSON files; empty where they are absent, so that a test of each case is skipped."""
    path = GOLDEN / file
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
