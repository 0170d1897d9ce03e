"""Bad input of every kind from outside ends in one of our errors: a few random ones of each, new in every run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzzing.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# What C libraries read could end the whole test run, so those stay few here; benchmarks/fuzz.py tries them apart.
EXAMPLES = {"videos": 10, "rows (parquet)": 10, "predictions (xlsx)": 10, "safetensors": 10, "config.json": 25}


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_is_read_or_refused_in_one_line(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=EXAMPLES.get(name, 40), deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.data())
    def play(data: Any) -> None:
        content = data.draw(target.inputs)
        with tempfile.TemporaryDirectory() as folder:
            target.check(content, Path(folder))

    play()
