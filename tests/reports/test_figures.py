"""Figures that are no means of their samples (MME, MMBench, POPE, MLVU), and rows that aren't independent."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import Sheet, write_run

from lladav_eval.errors import UsageError
from lladav_eval.reports.comparison import compare_runs
from lladav_eval.reports.load import load_run
from lladav_eval.reports.regression import Regression, Settings, regress
from lladav_eval.reports.statistics import compare_pairs
from lladav_eval.scoring.families.mmbench import ROLL
from lladav_eval.scoring.lmms import figure, shares_of
from lladav_eval.scoring.registry import get_scorer

Details = Callable[[int], dict[str, Any]]
DETAILS: dict[str, Details] = {
    "mme": lambda n: {"category": ("OCR", "count", "color")[n // 2 % 3], "picture": str(n // 2)},
    "mmbench": lambda n: {"index": n // 4 + n % 4 * ROLL},
    "pope": lambda n: {"split": ("random", "popular")[n % 2], "gold": ("yes", "no", "no")[n % 3]},
    "mlvu": lambda n: {"task": ("count", "ego", "order", "ego")[n % 4]},
}


def items(family: str, values: Sequence[float]) -> list[dict[str, Any]]:
    def item(n: int, value: float) -> dict[str, Any]:
        details = DETAILS[family](n)
        said = details.get("gold", "yes") if value else {"yes": "no", "no": "yes"}[details.get("gold", "yes")]
        return {"value": value, "extracted": said, "status": "scored", "details": details}

    return [item(n, value) for n, value in enumerate(values)]


def clusters(family: str, count: int) -> list[str | None]:
    size = {"mme": 2, "mmbench": 4}.get(family)
    return [None if size is None else str(n // size) for n in range(count)]


def gate(tmp_path: Path, family: str, before: Sequence[float], after: Sequence[float], **settings: Any) -> Regression:
    scale: Any = "points" if family == "mme" else "fraction"
    for name, values in (("before", before), ("after", after)):
        together = clusters(family, len(values))
        sheet = Sheet(values, "strict", scale, clusters=together, family=family, items=items(family, values))
        write_run(tmp_path / name, {family: sheet})
    return regress(load_run(tmp_path / "before"), load_run(tmp_path / "after"), Settings(**settings))


@pytest.mark.parametrize("family", DETAILS)
@pytest.mark.parametrize("seed", range(5))
def test_shares_add_up_to_the_figure(family: str, seed: int) -> None:
    draw = random.Random(seed)
    found = items(family, [float(draw.random() < seed / 4) for _ in range(240)])
    shares = shares_of(family, found)
    assert shares is not None
    assert sum(shares) / len(shares) == pytest.approx(figure(family, "strict", found), abs=1e-9)


def test_shares_of_pope_are_its_jackknife() -> None:
    """What F1 loses without an answer is what its share says, to first order."""
    draw = random.Random(3)
    found = items("pope", [float(draw.random() < 0.8) for _ in range(1200)])
    shares, whole = shares_of("pope", found), figure("pope", "strict", found)
    assert shares is not None
    for left_out in range(0, 60, 7):
        rest = figure("pope", "strict", found[:left_out] + found[left_out + 1 :])
        assert whole - rest == pytest.approx((shares[left_out] - whole) / len(found), rel=0.02, abs=2e-6)


def test_every_figure_that_is_no_mean_can_be_taken_apart() -> None:
    names = {name for name in DETAILS if get_scorer(name).shares is not None}
    assert names == set(DETAILS)
    assert shares_of("mmmu", [1.0]) is None
    assert shares_of("pope", [1.0]) is None  # another's items under our family's name
    assert shares_of(None, [1.0]) is None


def test_rolls_that_move_from_question_to_question_are_seen(tmp_path: Path) -> None:
    """As many rolls right as before, yet 60 questions fewer: the rows' own mean doesn't change."""
    before = [1.0] * 4 * 100 + [0.0] * 4 * 100
    after = list(before)
    for question in range(60):
        after[4 * question] = 0.0
        after[4 * (100 + question)] = 1.0
    found = gate(tmp_path, "mmbench", before, after)
    row = found.rows[0]
    assert (row.verdict, row.n, row.observations, row.test) == ("worse", 800, 200, "mcnemar")
    assert (row.baseline, row.candidate) == pytest.approx((50.0, 20.0))
    assert (row.wins, row.losses) == (60, 60)
    assert found.exit_code == 1


@pytest.mark.parametrize("family", DETAILS)
def test_a_clear_drop_is_worse_and_the_figures_are_those_of_the_task(family: str, tmp_path: Path) -> None:
    before = [1.0] * 600
    after = [float(n // 4 % 5 > 1) for n in range(600)]
    found = gate(tmp_path, family, before, after)
    row = found.rows[0]
    most = 100.0 if family != "mme" else 100 / 600  # three categories of 200 points each
    assert row.verdict == "worse"
    assert row.candidate == pytest.approx(most * figure(family, "strict", items(family, after)))
    assert row.low < row.difference < row.high < 0
    compared = compare_runs([load_run(tmp_path / name) for name in ("before", "after")])
    assert [entry.score for entry in compared.entries] == pytest.approx([row.baseline, row.candidate])
    assert compared.pairs[0].p_corrected == pytest.approx(row.p)


def test_intervals_cover_what_they_should(tmp_path: Path) -> None:
    """The reported interval of F1 is that of drawing its answers anew."""
    draw = random.Random(5)
    values = [float(draw.random() < 0.85) for _ in range(900)]
    found = gate(tmp_path, "pope", values, values)
    metric = found.baseline.tasks["lladav_pope"].metrics["strict"]
    answers = items("pope", values)
    drawn = sorted(100 * figure("pope", "strict", draw.choices(answers, k=900)) for _ in range(1000))
    assert metric.low == pytest.approx(drawn[25], abs=0.4)
    assert metric.high == pytest.approx(drawn[975], abs=0.4)


def sheet_of(values: Sequence[float], size: int, **more: Any) -> Sheet:
    return Sheet(values, clusters=[str(n // size) for n in range(len(values))], **more)


def test_samples_that_go_together_are_no_independent_evidence(tmp_path: Path) -> None:
    """Six rows lost are significant, six rows of two videos are not."""
    before, after = [1.0] * 60, [0.0] * 6 + [1.0] * 54
    for size, verdict in ((1, "worse"), (3, "can't tell")):
        for name, values in (("before", before), ("after", after)):
            write_run(tmp_path / f"{name}{size}", {"a": sheet_of(values, size)})
        found = regress(load_run(tmp_path / f"before{size}"), load_run(tmp_path / f"after{size}"))
        assert found.rows[0].verdict == verdict
        assert found.rows[0].observations == 60 / size
        assert found.rows[0].losses == 6


def test_false_alarms_stay_rare_where_samples_go_together(tmp_path: Path) -> None:
    """Videos of three questions that flip together, as often one way as the other."""
    draw = random.Random(11)
    alarms = 0
    for _ in range(300):
        before = [float(draw.random() < 0.6) for _ in range(100) for _ in range(3)]
        after = list(before)
        for video in range(100):
            if draw.random() < 0.2:
                after[3 * video : 3 * video + 3] = [float(draw.random() < 0.6)] * 3
        alarms += compare_pairs(before, after, clusters=[n // 3 for n in range(300)]).p <= 0.05
    assert alarms <= 0.085 * 300


def test_rows_that_two_tasks_ask_are_one_observation_of_everything_together(tmp_path: Path) -> None:
    before, after = [1.0] * 100, [0.0] * 5 + [1.0] * 95
    for revision, verdict in (("0" * 40, "can't tell"), (None, "worse")):
        for name, values in (("before", before), ("after", after)):
            sheets = {task: Sheet(values, data_revision=revision) for task in ("a", "b")}
            write_run(tmp_path / f"{name}{revision}", sheets)
        found = regress(load_run(tmp_path / f"before{revision}"), load_run(tmp_path / f"after{revision}"))
        assert found.rows[0].scope == "overall"
        assert found.rows[0].verdict == verdict


def test_a_figure_that_no_test_knows_never_falls_unseen(tmp_path: Path) -> None:
    runs = []
    for name, value in (("before", 80.0), ("after", 40.0)):
        run = load_run(write_run(tmp_path / name, {"a": Sheet([1.0, 0.0] * 30)}))
        task = run.tasks["lladav_a"]
        own = replace(task.metrics["accuracy"], value=value, low=None, high=None, is_mean=False)
        runs.append(replace(run, tasks={"lladav_a": replace(task, metrics={"accuracy": own})}))
    fell = regress(*runs)
    assert (fell.verdict, fell.rows[0].reason[:38]) == ("can't tell", "accuracy fell by 40.0 points of 100, a")
    assert regress(*runs, Settings(fail_on_unclear=True)).exit_code == 1
    assert regress(*runs[::-1]).verdict == "same"
    assert regress(*runs, Settings(tolerance=40)).verdict == "same"
    points = [replace(run, tasks={n: replace(task, scale="points") for n, task in run.tasks.items()}) for run in runs]
    # Points are taken as per cent of the larger figure.
    assert regress(*points).rows[0].reason.startswith("accuracy fell by 50.0 points of 100, a")


def test_mcnemar_is_refused_where_samples_that_go_together_differ(tmp_path: Path) -> None:
    for name in ("before", "after"):
        write_run(tmp_path / name, {"a": sheet_of([1.0, 0.0, 1.0] * 20, 3)})
    both = [load_run(tmp_path / name) for name in ("before", "after")]
    with pytest.raises(UsageError, match="video or question together"):
        regress(*both, Settings(test="mcnemar"))


def test_a_few_graded_values_prove_no_sameness(tmp_path: Path) -> None:
    for name, value in (("before", 0.9), ("after", 0.892)):
        write_run(tmp_path / name, {"a": Sheet([value])})
    found = regress(load_run(tmp_path / "before"), load_run(tmp_path / "after"))
    assert (found.verdict, found.rows[0].smallest) == ("can't tell", None)


def test_reports_say_what_is_tested_together(tmp_path: Path) -> None:
    from lladav_eval.reports import comparison_text, regression_text

    found = gate(tmp_path, "mmbench", [1.0] * 400, [0.0] * 40 + [1.0] * 360)
    assert regression_text.TOGETHER in regression_text.markdown(found)
    compared = compare_runs([found.baseline, found.candidate])
    assert regression_text.TOGETHER in comparison_text.markdown(compared)
    graded = gate(tmp_path / "graded", "mlvu", [1.0] * 400, [0.0] * 40 + [1.0] * 360)
    assert regression_text.TOGETHER not in regression_text.markdown(graded)
    (row,) = comparison_text.pair_rows(compare_runs([graded.baseline, graded.candidate]))
    assert row[-1] == "-"  # the bootstrap has no such bound
