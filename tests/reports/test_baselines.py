"""The committed runs that CI compares against: whole, and their tables say where their figures come from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lladav_eval.reports.load import load_run
from lladav_eval.reports.table import markdown_table

BASELINES = Path(__file__).resolve().parents[2] / "results" / "baselines"


@pytest.mark.parametrize("name", ["pocket", "pocket-ar"])
def test_a_baseline_is_a_whole_run(name: str) -> None:
    run = load_run(BASELINES / name)
    assert len(run.samples) == 1750
    assert run.commit is not None
    assert not run.dirty
    assert all(task.failed == 0 for task in run.tasks.values())


@pytest.mark.parametrize("name", ["pocket", "pocket-ar"])
def test_its_table_is_that_of_its_results_with_commit_and_date(name: str) -> None:
    text = (BASELINES / name / "table.md").read_text(encoding="utf-8")
    assert text == markdown_table(json.loads((BASELINES / name / "results.json").read_text(encoding="utf-8")))
    assert re.match(rf"# {name}, protocol strict, commit [0-9a-f]{{10}}, 20\d\d-\d\d-\d\dT", text)
