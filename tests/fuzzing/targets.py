"""What is fuzzed: for each kind of input that comes from outside, a strategy that makes bad ones and what must hold.

Every input must be read, or end in one of our errors with one line. tests/test_fuzz.py tries a few in every test run,
benchmarks/fuzz.py as many as there is time for.
"""

from __future__ import annotations

from fuzzing import answers, checkpoints, media, rows
from fuzzing.inputs import Target

TARGETS: dict[str, Target] = {**answers.TARGETS, **checkpoints.TARGETS, **media.TARGETS, **rows.TARGETS}
