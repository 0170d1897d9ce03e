from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lladav_eval.sampling.schedule import transfer_counts


@pytest.mark.parametrize(
    ("masked", "steps", "expected"),
    [(2, 2, [1, 1]), (8, 3, [3, 3, 2]), (3, 5, [1, 1, 1, 0, 0]), (0, 2, [0, 0]), (32, 16, [2] * 16)],
)
def test_known_shares(masked: int, steps: int, expected: list[int]) -> None:
    assert transfer_counts(masked, steps) == expected


@given(st.integers(0, 500), st.integers(1, 500))
def test_fills_everything_evenly_and_early(masked: int, steps: int) -> None:
    counts = transfer_counts(masked, steps)
    assert len(counts) == steps
    assert sum(counts) == masked
    assert counts == sorted(counts, reverse=True)
    assert max(counts) - min(counts) <= 1
