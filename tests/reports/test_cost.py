"""Costs as cells of a table."""

from __future__ import annotations

import pytest

from lladav_eval.reports.cost import COST, cost_cells
from lladav_eval.scoring.cost import CostSummary


@pytest.mark.parametrize(
    ("flops", "shown"),
    [
        (0.0, "0"), (999.0, "999"), (1e3, "1 k"), (2.5e6, "2.5 M"), (9.99e8, "999 M"), (1e9, "1 G"), (3e12, "3 T"),
        (1.25e15, "1.25 P"), (2e18, "2e+03 P"),
    ],
)  # fmt: skip
def test_flop_have_a_unit(flops: float, shown: str) -> None:
    cells = dict(zip(COST, cost_cells(CostSummary(2, {"flops": 2}, {"flops": 2 * flops}, None)), strict=True))
    assert cells.pop("FLOP") == shown
    assert set(cells.values()) == {"-"}, "what a model doesn't tell"
