"""Worse is worse, too few samples are too few, and what can't be compared is an error in every output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from reports.pairs import GOOD, SCHEMA, flipped, pair
from reports.synthetic import Sheet, write_run

from lladav_eval.errors import UsageError
from lladav_eval.reports.ci import annotation_lines, junit
from lladav_eval.reports.load import load_run
from lladav_eval.reports.regression import Settings, regress
from lladav_eval.reports.regression_text import markdown
from lladav_eval.reports.run_data import RunData


@pytest.mark.parametrize(
    ("flips", "options", "verdict"),
    [
        ((), {}, "same"),
        (tuple(range(6)), {}, "worse"),  # 6 lost of 100: p = 1/32
        (tuple(range(5)), {}, "can't tell"),  # 5 lost: p = 1/16
        (tuple(range(5)), {"alpha": 0.1}, "worse"),
        (tuple(range(60, 66)), {}, "better"),
        (tuple(range(6)), {"tolerance": 6.0}, "can't tell"),  # a drop for certain, but perhaps a small one
        (tuple(range(6)), {"tolerance": 13.0}, "same"),
        (tuple(range(60, 66)), {"tolerance": 6.5}, "better"),  # the tolerance is for losses
        (tuple(range(60, 66)), {"tolerance": 13.0}, "same"),
        ((0, 1, 2, 60, 61, 62), {}, "can't tell"),
        ((0, 1, 2, 60, 61, 62), {"tolerance": 10.0}, "same"),
        (tuple(range(12)), {"test": "bootstrap"}, "worse"),
    ],
)
def test_verdicts(tmp_path: Path, flips: tuple[int, ...], options: dict[str, Any], verdict: str) -> None:
    result = pair(tmp_path, {"a": Sheet(GOOD)}, {"a": Sheet(flipped(GOOD, *flips))}, **options)
    assert (result.verdict, result.rows[0].verdict) == (verdict, verdict)
    assert result.exit_code == {"worse": 1}.get(verdict, 0)
    assert [flip.doc_id for flip in result.lost] == [index for index in flips if index < 60]
    assert [flip.doc_id for flip in result.won] == [index for index in flips if index >= 60]
    (row,) = result.rows
    assert (row.n, row.losses, row.wins, row.ties) == (100, len(result.lost), len(result.won), 100 - len(flips))
    assert row.difference == pytest.approx(len(result.won) - len(result.lost))


@pytest.mark.parametrize(
    ("before", "after", "tolerance", "verdict"),
    [
        # As floating-point numbers, all of these lie beyond the tolerance by 1e-14.
        (Sheet([1.0] * 250), Sheet([0.0] * 41 + [1.0] * 209), 16.4, "can't tell"),
        (Sheet([0.0] * 41 + [1.0] * 209), Sheet([1.0] * 250), 16.4, "better"),
        (Sheet([0.9] * 50, metric="anls"), Sheet([0.7] * 50, metric="anls"), 20.0, "same"),
        (Sheet([0.7] * 50, metric="anls"), Sheet([0.9] * 50, metric="anls"), 20.0, "same"),
        # And these lie beyond it.
        (Sheet([1.0] * 250), Sheet([0.0] * 41 + [1.0] * 209), 16.399, "worse"),
        (Sheet([0.9] * 50, metric="anls"), Sheet([0.7] * 50, metric="anls"), 19.999, "worse"),
    ],
)
def test_a_change_of_exactly_the_tolerance_is_within_it(
    tmp_path: Path, before: Sheet, after: Sheet, tolerance: float, verdict: str
) -> None:
    result = pair(tmp_path, {"a": before}, {"a": after}, tolerance=tolerance)
    assert (result.verdict, result.exit_code) == (verdict, int(verdict == "worse"))


def test_runs_of_the_first_rows_say_of_how_many(tmp_path: Path) -> None:
    part = {"a": Sheet(GOOD, rows=900), "b": Sheet(GOOD)}
    assert "n = 200 of 1000, commit" in markdown(pair(tmp_path, part, part))
    assert "n = 200, commit" in markdown(pair(tmp_path, {"a": Sheet(GOOD * 2)}, {"a": Sheet(GOOD * 2)}))


def test_one_flip_of_very_many_is_no_change(tmp_path: Path) -> None:
    many = GOOD * 20
    assert pair(tmp_path, {"a": Sheet(many)}, {"a": Sheet(flipped(many, 0))}).verdict == "same"


def test_too_few_samples_say_so(tmp_path: Path) -> None:
    result = pair(tmp_path, {"a": Sheet([1.0] * 4)}, {"a": Sheet([0.0] * 4)})
    assert result.verdict == "can't tell"
    assert "at best it shows no difference at all" in result.rows[0].reason
    assert result.rows[0].smallest is None


def test_overall_tasks_and_categories(tmp_path: Path) -> None:
    kinds = ["x"] * 30 + ["y"] * 70
    before = {"a": Sheet(GOOD, categories=kinds), "b": Sheet(GOOD)}
    after = {"a": Sheet(flipped(GOOD, *range(12)), categories=kinds), "b": Sheet(GOOD)}
    result = pair(tmp_path, before, after)
    assert [(row.scope, row.name, row.verdict) for row in result.rows] == [
        ("overall", "overall", "worse"),
        ("task", "a", "worse"),
        ("category", "a / x", "worse"),
        ("category", "a / y", "same"),
        ("task", "b", "same"),
    ]
    overall, a, *_ = result.rows
    assert (overall.n, overall.losses, overall.difference) == (200, 12, -6.0)
    assert a.p_corrected == pytest.approx(2 * a.p)


@pytest.mark.parametrize("old", ["baseline", "candidate"])
def test_a_run_from_before_categories_is_compared_all_the_same(tmp_path: Path, old: str) -> None:
    named = Sheet(GOOD, categories=["x"] * 30 + ["y"] * 70)
    sheets = {"baseline": named, "candidate": named, old: Sheet(GOOD)}
    result = pair(tmp_path, {"a": sheets["baseline"]}, {"a": sheets["candidate"]})
    assert [(row.name, row.n) for row in result.rows] == [("a", 100), ("a / x", 30), ("a / y", 70)]


def test_a_loss_in_one_task_is_not_hidden_by_gains_elsewhere(tmp_path: Path) -> None:
    after = {"a": Sheet(flipped(GOOD, *range(10))), "b": Sheet(flipped(GOOD, *range(60, 90)))}
    result = pair(tmp_path, {"a": Sheet(GOOD), "b": Sheet(GOOD)}, after)
    assert (result.rows[0].verdict, result.verdict, result.exit_code) == ("better", "worse", 1)


def test_an_unclear_task_fails_where_that_is_asked_for(tmp_path: Path) -> None:
    """Also where everything together is better."""
    kinds = ["x"] * 90 + ["y"] * 10
    before = {"a": Sheet(GOOD, categories=kinds), "b": Sheet(GOOD)}
    after = {"a": Sheet(flipped(GOOD, *range(60, 100)), categories=kinds), "b": Sheet(flipped(GOOD, *range(4)))}
    told = pair(tmp_path, before, after)
    asked = pair(tmp_path, before, after, fail_on_unclear=True)
    verdicts = [("overall", "better"), ("a", "better"), ("a / x", "better"), ("a / y", "better"), ("b", "can't tell")]
    for result, code, found, levels in (
        (told, 0, "skipped", ["warning", "notice"]), (asked, 1, "failure", ["error"]),
    ):  # fmt: skip
        assert [(row.name, row.verdict) for row in result.rows] == verdicts
        assert (result.verdict, result.exit_code, result.as_json()["exit_code"]) == ("better", code, code)
        root = etree.fromstring(junit(result).encode())
        assert SCHEMA.validate(root), SCHEMA.error_log
        assert (root[0].get("failures"), root[0].get("skipped")) == (str(code), str(1 - code))
        assert [case.get("name") for case in root.iter("testcase") if case.find(found) is not None] == ["b"]
        assert [line.split("::")[1].split(" ")[0] for line in annotation_lines(result)] == levels
        assert ("**can't tell**" in markdown(result)) == bool(code)
    note = "--fail-on-unclear: can't tell about b, which fails"
    assert note in asked.notes
    assert note in markdown(asked)
    assert not any("unclear" in note for note in told.notes)


def test_an_unclear_category_fails_nothing(tmp_path: Path) -> None:
    kinds = ["x"] * 2 + ["y"] * 1998
    after = Sheet(flipped(GOOD * 20, 0), categories=kinds)
    result = pair(tmp_path, {"a": Sheet(GOOD * 20, categories=kinds)}, {"a": after}, fail_on_unclear=True)
    assert [row.verdict for row in result.rows] == ["same", "can't tell", "same"]
    assert result.exit_code == 0
    assert "<failure" not in junit(result)


def test_scores_that_are_not_right_or_wrong(tmp_path: Path) -> None:
    before, after = Sheet([0.9] * 50, metric="anls"), Sheet([0.7] * 50, metric="anls")
    result = pair(tmp_path, {"a": before}, {"a": after})
    assert (result.rows[0].test, result.verdict) == ("bootstrap", "worse")
    assert result.rows[0].difference == pytest.approx(-20)
    with pytest.raises(UsageError, match="use --test bootstrap"):
        pair(tmp_path, {"a": before}, {"a": after}, test="mcnemar")


def test_points_are_compared_as_shares_of_the_largest(tmp_path: Path) -> None:
    result = pair(tmp_path, {"a": Sheet([4.0] * 20, scale="points")}, {"a": Sheet([3.0] * 20, scale="points")})
    assert (result.rows[0].baseline, result.rows[0].candidate, result.verdict) == (100, 75, "worse")


def test_another_metric(tmp_path: Path) -> None:
    more = {"exact": [1.0] * 20}
    sheet = Sheet([1.0] * 20, more_metrics=more)
    result = pair(tmp_path, {"a": sheet}, {"a": replace(sheet, more_metrics={"exact": [0.0] * 20})}, metric="exact")
    assert (result.verdict, result.rows[0].metric) == ("worse", "exact")
    with pytest.raises(UsageError, match="no metric 'f1'; choose one of accuracy, exact"):
        pair(tmp_path, {"a": sheet}, {"a": sheet}, metric="f1")


def test_failed_samples_count_and_are_noted(tmp_path: Path) -> None:
    lost = dict.fromkeys(range(8), "failed")
    result = pair(tmp_path, {"a": Sheet(GOOD)}, {"a": Sheet(flipped(GOOD, *range(8)), statuses=lost)})
    assert result.verdict == "worse"
    assert "a: failed 0 became 8 of 100" in result.notes
    assert {flip.status_after for flip in result.lost} == {"failed"}


def test_changed_settings_are_noted_in_order(tmp_path: Path) -> None:
    names = ["block_length", "cache", "gen_length", "seed", "steps", "suffix", "temperature", "threshold"]
    before, after = (Sheet(GOOD, settings=dict.fromkeys(names[first:], first)) for first in (0, 1))
    notes = [note for note in pair(tmp_path, {"a": before}, {"a": after}).notes if "became" in note]
    assert notes == ["a: block_length 0 became None", *(f"a: {name} 0 became 1" for name in names[1:])]


BASE = Sheet([1.0, 0.0, 1.0])
DIFFERENT: list[tuple[dict[str, Sheet], dict[str, Sheet], dict[str, Any], str]] = [
    ({"a": BASE}, {"a": BASE}, {"protocol": "official"}, "the protocols differ: baseline strict, candidate official"),
    ({"a": BASE}, {"b": BASE}, {}, "only the baseline has the task a"),
    ({"a": BASE}, {"a": BASE, "b": BASE}, {}, "only the candidate has the task b"),
    ({"a": BASE}, {"a": replace(BASE, version="2.0")}, {}, "the task version differs: baseline 1.0, candidate 2.0"),
    ({"a": replace(BASE, data_revision="r1")}, {"a": replace(BASE, data_revision="r2")}, {}, "the data differ"),
    ({"a": BASE}, {"a": Sheet([1.0, 0.0])}, {}, "1 samples only in the baseline (doc_id 2)"),
    (
        {"a": Sheet([1.0] * 9)}, {"a": Sheet([1.0] * 3)}, {},
        "6 samples only in the baseline (doc_id 3, 4, 5, 6, 7, ...)",
    ),
    ({"a": BASE}, {"a": replace(BASE, doc_ids=[0, 1, 7])}, {}, "1 samples only in the candidate (doc_id 7)"),
    ({"a": BASE}, {"a": replace(BASE, targets={1: "C"})}, {}, "the target of 1 samples differs (doc_id 1)"),
    ({"a": BASE}, {"a": replace(BASE, prompts={2: "other"})}, {}, "the prompt of 1 samples differs (doc_id 2)"),
    (
        {"a": replace(BASE, categories=["x", "y", "y"])}, {"a": replace(BASE, categories=["x", "y", "x"])}, {},
        "the category of 1 samples differs (doc_id 2)",
    ),
    ({"a": BASE}, {"a": replace(BASE, metric="anls")}, {}, "the headline metric differs"),
    ({"a": BASE}, {"a": replace(BASE, scale="points")}, {}, "the scale differs"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "options", "reason"), DIFFERENT, ids=[case[3][:40] for case in DIFFERENT])
def test_what_is_not_comparable_is_never_passed(
    tmp_path: Path, before: dict[str, Sheet], after: dict[str, Sheet], options: dict[str, Any], reason: str
) -> None:
    result = pair(tmp_path, before, after, **options)
    assert (result.verdict, result.exit_code, result.rows) == ("not comparable", 2, ())
    assert any(reason in given for given in result.reasons)
    assert reason in junit(result)
    root = etree.fromstring(junit(result).encode())
    assert SCHEMA.validate(root), SCHEMA.error_log
    assert root.get("errors") == "1"
    assert [line.split("::")[1].split(" ")[0] for line in annotation_lines(result)] == ["error"] * len(result.reasons)
    assert "## Regression: not comparable" in markdown(result)


@pytest.mark.parametrize("figure", [55.0, 2000.0])
def test_a_run_whose_figures_are_all_0_has_no_scale_that_could_differ(tmp_path: Path, figure: float) -> None:
    """Where a task states none, it shows by figures beyond 1."""

    def sums(path: Path, value: float, scale: Any) -> RunData:
        run = load_run(write_run(path, {"own:a": Sheet([value] * 30, scale=scale)}))
        run.tasks["a"].metrics["accuracy"].__dict__.update(value=value, is_mean=False)
        return run

    zero, other = sums(tmp_path / "zero", 0.0, "fraction"), sums(tmp_path / "other", figure, "points")
    for before, after, verdict in ((zero, other, "better"), (other, zero, "worse"), (zero, zero, "same")):
        found = regress(before, after)
        assert (found.verdict, found.reasons) == (verdict, ())
    halves = sums(tmp_path / "half", 0.5, "fraction")
    assert regress(halves, other).verdict == "not comparable"


def test_other_settings_are_a_note(tmp_path: Path) -> None:
    after = replace(BASE, settings={"gen_length": 2, "steps": 1})
    result = pair(tmp_path, {"a": BASE}, {"a": after})
    assert (result.verdict, result.exit_code) == ("same", 0)
    assert "a: steps 2 became 1" in result.notes


def test_other_pictures_are_a_note(tmp_path: Path) -> None:
    before, after = replace(BASE, media={0: "a", 1: "a"}), replace(BASE, media={0: "a", 1: "b", 2: "c"})
    result = pair(tmp_path, {"a": before}, {"a": after})
    assert (result.verdict, result.exit_code) == ("same", 0)
    (note,) = (note for note in result.notes if "pictures" in note)
    assert note == (
        "a: 1 samples show other pictures or videos (doc_id 1): their data or the versions of their decoders differ"
    )


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, float("nan")])
def test_bad_levels(value: float) -> None:
    with pytest.raises(UsageError, match="--alpha"):
        Settings(alpha=value)
    with pytest.raises(UsageError, match="--tolerance"):
        Settings(tolerance=value - 1.5)
