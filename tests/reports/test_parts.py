"""Metrics that a task gives to some samples only: paired on those, failed samples counted where they belong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from reports.synthetic import Sheet, write_run

from lladav_eval.errors import UsageError
from lladav_eval.reports.comparison import compare_runs
from lladav_eval.reports.load import load_run
from lladav_eval.reports.regression import Regression, Settings, regress
from lladav_eval.reports.run_data import RunData

HUMAN = 40
"""Of 100 samples, as ChartQA's two halves; the rest is augmented."""


def run(path: Path, right: Sequence[float], failed: Sequence[int] = (), old: bool = False) -> RunData:
    """``old``: failed samples are written down with both halves, as versions did that didn't ask which is theirs."""
    values = [0.0 if index in failed else value for index, value in enumerate(right)]

    def half(first: bool) -> list[float | None]:
        return [v if (i < HUMAN) == first or (old and i in failed) else None for i, v in enumerate(values)]

    sheet = Sheet(
        values, "overall", more_metrics={"human": half(True), "augmented": half(False)},
        statuses=dict.fromkeys(failed, "failed"),
    )  # fmt: skip
    written = write_run(path, {"chart": sheet})
    if old:
        results = json.loads((written / "results.json").read_text())
        results["tasks"]["lladav_chart"]["metrics"]["human"]["n"] = HUMAN
        (written / "results.json").write_text(json.dumps(results))
    return load_run(written)


def regressed(before: RunData, after: RunData, metric: str = "human") -> Regression:
    return regress(before, after, Settings(metric=metric))


RIGHT = [1.0] * 100


@pytest.mark.parametrize("old", [False, True])
def test_a_part_is_tested_on_its_own_samples(tmp_path: Path, old: bool) -> None:
    worse = [0.0] * 20 + [1.0] * 80
    found = regressed(run(tmp_path / "a", RIGHT), run(tmp_path / "b", worse, failed=[0, 1, 98, 99], old=old))
    (row,) = found.rows
    assert (row.n, row.observations, row.losses, row.verdict) == (HUMAN, HUMAN, 20, "worse")
    assert (row.baseline, row.candidate) == (100.0, 50.0)
    assert "chart: human is of 40 of the 100 samples, those that the task gives it to" in found.notes
    assert {flip.doc_id for flip in found.lost} == set(range(20))


def test_failed_samples_of_both_runs_are_in_their_own_part(tmp_path: Path) -> None:
    runs = run(tmp_path / "a", RIGHT, failed=[0, 99]), run(tmp_path / "b", RIGHT, failed=[0, 99])
    assert [regressed(*runs, metric).rows[0].n for metric in ("human", "augmented", "overall")] == [40, 60, 100]
    assert regressed(*runs).rows[0].candidate == 97.5
    assert not any("those that the task gives it to" in note for note in regressed(*runs, "overall").notes)


def test_a_failed_sample_that_recorded_another_part_counts_where_its_answer_does(tmp_path: Path) -> None:
    before, after = run(tmp_path / "a", RIGHT), run(tmp_path / "b", RIGHT, failed=[0])
    dict(after.samples)["lladav_chart", 0].metrics.pop("human")  # type: ignore[attr-defined]
    after.tasks["lladav_chart"].metrics["human"].__dict__["n"] = HUMAN - 1
    (row,) = regressed(before, after).rows
    assert (row.n, row.candidate) == (HUMAN, 97.5)


def test_runs_are_compared_on_the_part(tmp_path: Path) -> None:
    found = compare_runs([run(tmp_path / "a", RIGHT), run(tmp_path / "b", RIGHT, failed=[1, 2, 97])], metric="human")
    assert [(entry.n, entry.score, entry.failed) for entry in found.entries] == [(40, 100.0, 0), (40, 95.0, 2)]
    assert (found.pairs[0].n, found.pairs[0].losses) == (40, 2)
    assert "chart: human is of 40 of the 100 samples, those that the task gives it to" in found.notes


def test_costs_are_compared_on_the_part(tmp_path: Path) -> None:
    """The other half is four times as dear in one run alone."""
    first, second = run(tmp_path / "a", RIGHT), run(tmp_path / "b", RIGHT)
    for doc_id in range(HUMAN, 100):
        cost = second.samples["lladav_chart", doc_id].cost
        cost.update({name: 4 * cost[name] for name in ("forward_passes", "seconds")})  # type: ignore[attr-defined]
    (ratio,) = compare_runs([first, second], metric="human").ratios
    assert (ratio.forward_passes, ratio.low, ratio.high, ratio.seconds) == (1, 1, 1, 1)
    (whole,) = compare_runs([first, second]).ratios
    assert (whole.forward_passes, whole.seconds) == (2.8, 2.8)


def test_a_part_that_depends_on_the_answer_is_refused(tmp_path: Path) -> None:
    before, after = run(tmp_path / "a", RIGHT), run(tmp_path / "b", RIGHT)
    after.samples["lladav_chart", 5].metrics.pop("human")  # type: ignore[attr-defined]
    after.tasks["lladav_chart"].metrics["human"].__dict__["n"] = HUMAN - 1
    with pytest.raises(UsageError, match=r"^chart 5: only some of the runs give it human, so .*--metric$"):
        regressed(before, after)


def test_samples_without_a_value_are_refused(tmp_path: Path) -> None:
    before, after = run(tmp_path / "a", RIGHT), run(tmp_path / "b", RIGHT)
    for one in (before, after):
        one.samples["lladav_chart", 5].metrics.pop("human")  # type: ignore[attr-defined]
    with pytest.raises(
        UsageError, match=r"a: lladav_chart 5 has no value .* for human, so .*--metric: overall, augmented$"
    ):
        regressed(before, after)
    for one in (before, after):
        for sample in one.samples.values():
            sample.metrics.clear()  # type: ignore[attr-defined]
    nothing = (
        r"lladav_chart 0 has no value of its own for human, so .* nor for another metric: run .*`lladav-eval tasks`"
    )
    with pytest.raises(UsageError, match=nothing):
        regressed(before, after)
    with pytest.raises(UsageError, match=r"no metric 'hunam'; choose one of overall, human, augmented$"):
        regressed(before, after, "hunam")


def test_parts_without_a_common_sample_are_refused(tmp_path: Path) -> None:
    sheets = [
        Sheet([1.0] * 3, more_metrics={"first": [1.0, None, None]}, doc_ids=ids) for ids in ((0, 1, 2), (1, 2, 3))
    ]
    runs = [load_run(write_run(tmp_path / str(place), {"t": sheet})) for place, sheet in enumerate(sheets)]
    runs[1].samples["lladav_t", 1].metrics.pop("first")  # type: ignore[attr-defined]
    runs[1].samples["lladav_t", 3].metrics["first"] = 1.0  # type: ignore[index]
    with pytest.raises(UsageError, match="no sample of t with first in common"):
        compare_runs(runs, metric="first")
