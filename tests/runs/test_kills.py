"""Runs killed at random moments and resumed: the small form of benchmarks/kills.py, with the embedded model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kills.py"


@pytest.mark.slow
def test_killed_by_every_signal_and_resumed_equals_an_unbroken_run() -> None:
    options = ["--task", "pocket_digits", "--limit", "120", "--batch-size", "8", "--kills", "6", "--signal", "MIX"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert result["problems"] == []
    assert (result["samples"], result["kills"]) == (120, 6)
    assert result["most_lost_by_a_kill"] <= 8
    assert result["exit_codes"]["-9"] == 2
