"""Runs killed at random moments and resumed: the small forms of benchmarks/kills.py and benchmarks/soak.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def play(script: str, *options: str) -> dict[str, Any]:
    """Run a script and give its last line; it must have found no problem."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert result["problems"] == []
    return result


@pytest.mark.slow
def test_killed_by_every_signal_and_resumed_equals_an_unbroken_run() -> None:
    options = ["--task", "pocket_digits", "--limit", "120", "--batch-size", "8", "--kills", "6", "--signal", "MIX"]
    result = play("kills.py", *options)
    assert (result["samples"], result["kills"]) == (120, 6)
    assert result["most_lost_by_a_kill"] <= 8
    assert result["exit_codes"]["-9"] == 2


@pytest.mark.slow
def test_a_small_soak_loses_nothing() -> None:
    result = play("soak.py", "--samples", "2000", "--kills", "3")
    assert (result["samples"], result["kills"]) == (2000, 3)
    assert result["megabytes_at"].keys() == {"1000"}
