"""Worse is worse, too few samples are too few, and what can't be compared is an error in every output."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from markdown_it import MarkdownIt
from reports.synthetic import HOSTILE, Sheet, write_run
from rich.console import Console

from lladav_eval.cli import main
from lladav_eval.errors import UsageError
from lladav_eval.reports.ci import annotation_lines, error_annotation, error_junit, junit
from lladav_eval.reports.load import load_run
from lladav_eval.reports.regression import Regression, Settings, regress
from lladav_eval.reports.regression_text import error_markdown, markdown, print_regression

GOOD = [1.0] * 60 + [0.0] * 40
SETTINGS = ("test", "alpha", "tolerance", "metric", "fail_on_unclear")
SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit.xsd")))


def pair(tmp_path: Path, before: dict[str, Sheet], after: dict[str, Sheet], **options: Any) -> Regression:
    settings = Settings(**{k: options.pop(k) for k in SETTINGS if k in options})
    baseline = load_run(write_run(tmp_path / "base", before))
    return regress(baseline, load_run(write_run(tmp_path / "new", after, **options)), settings)


def flipped(values: list[float], *indices: int) -> list[float]:
    return [1 - value if index in indices else value for index, value in enumerate(values)]


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
        (Sheet([0.0] * 41 + [1.0] * 209), Sheet([1.0] * 250), 16.4, "can't tell"),
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


@pytest.fixture
def hostile(tmp_path: Path) -> Regression:
    """Ten lost samples, with the worst texts in every place that a report shows."""
    kinds = [HOSTILE] * 50 + ["plain"] * 50
    before = {"a": Sheet(GOOD, categories=kinds, targets={0: HOSTILE}), "b": Sheet(GOOD)}
    texts = dict.fromkeys(range(10), HOSTILE)
    after = {"a": replace(before["a"], values=flipped(GOOD, *range(10)), texts=texts), "b": Sheet([0.0, *GOOD[1:]])}
    return pair(tmp_path, before, after, model=HOSTILE)


def test_junit_is_valid_and_counts(hostile: Regression) -> None:
    text = junit(hostile)
    root = etree.fromstring(text.encode())
    assert SCHEMA.validate(root), SCHEMA.error_log
    suite = root[0]
    # overall and a are worse; b can't tell; the category that is worse is told, but fails nothing
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "2", "2")
    assert len(root.findall(".//failure")) == 2
    assert len(root.findall(".//skipped")) == 2
    properties = {item.get("name"): item.get("value") for item in root.iter("property")}
    assert properties["candidate.protocol"] == "strict"
    assert properties["baseline.commit"] == "0123456789abcdef"
    assert properties["candidate.n"] == "200"


def test_the_schema_refuses_other_xml(hostile: Regression) -> None:
    text = junit(hostile)
    for old, new in (('tests="5"', 'tests="many"'), ("<failure ", "<broken "), (' name="overall"', "")):
        assert old in text
        assert not SCHEMA.validate(etree.fromstring(text.replace(old, new).replace("</failure>", "").encode(), RECOVER))


RECOVER = etree.XMLParser(recover=True)


def test_annotations_are_single_commands(hostile: Regression) -> None:
    lines = list(annotation_lines(hostile))
    assert [line.split(" ", 1)[0] for line in lines] == ["::error", "::error", "::warning", "::warning"]
    assert all("\n" not in line and "\r" not in line and "\x1b" not in line for line in lines)
    assert "n = 200" in lines[0]
    assert "protocol strict" in lines[0]
    assert "commit 0123456789" in lines[0]


def test_markdown_shows_flips_and_no_markup_of_the_model(hostile: Regression) -> None:
    text = markdown(hostile)
    assert "<details><summary>11 samples lost</summary>" in text
    assert "| a | 9 |" in text
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert page.count("<table>") == 2
    assert page.count("<tr>") == 1 + len(hostile.rows) + 1 + len(hostile.lost)
    assert page.count("</details>") == 1
    for part in ("<script", "<h1", "<a ", "<img"):
        assert part not in page
    assert "\x1b" not in text
    assert "\n# head" not in text
    assert "\n::error" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {11, 6}


def test_the_terminal_is_not_steered(hostile: Regression) -> None:
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    print_regression(hostile, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]" in shown
    assert "verdict: worse" in shown
    assert "lost: 11 (a#0, a#1" in shown


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main.invoke([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command(
    tmp_path: Path, hostile: Regression, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = ("regress", "--baseline", tmp_path / "base", "--candidate", tmp_path / "new")
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = ("--junit", tmp_path / "r" / "j.xml", "--markdown", tmp_path / "r" / "m.md")
    code, out, err = call(capsys, *runs, "--github", "--json", *files)
    assert (code, err) == (1, "")
    assert [line[:7] for line in out.splitlines()] == ["::error", "::error", "::warni", "::warni", '{"basel']
    content = json.loads(out.splitlines()[-1])
    assert (content["verdict"], content["exit_code"], len(content["lost"])) == ("worse", 1, 11)
    assert content["candidate"]["date"]
    assert (content["candidate"]["n"], content["candidate"]["failed"], content["candidate"]["dirty"]) == (200, 0, False)
    named = {"run", "model", "kind", "protocol", "approximate", "commit", "dirty", "date", "n", "failed"}
    assert content["baseline"].keys() == named, "what must stand beside every number"
    assert SCHEMA.validate(etree.parse(tmp_path / "r" / "j.xml"))
    assert summary.read_text() == "before\n" + (tmp_path / "r" / "m.md").read_text()
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    code, out, err = call(capsys, *runs, "--github")
    assert code == 1
    assert "GITHUB_STEP_SUMMARY is not set" in err
    (begin,) = [line for line in out.splitlines() if line.startswith("::stop-commands::")]
    assert f"::{begin.rsplit('::', 1)[1]}::" in out.splitlines()
    assert call(capsys, *runs, "--tolerance", "50")[0] == 0
    code, out, err = call(capsys, *runs, "--alpha", "2")
    assert (code, out) == (2, "")
    assert err.startswith("error: --alpha")
    assert call(capsys, "regress", "--baseline", tmp_path, "--candidate", tmp_path)[0] == 2


def test_exit_codes_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = write_run(tmp_path / "base", {"a": Sheet(GOOD)})
    other = write_run(tmp_path / "other", {"b": Sheet(GOOD)})
    unclear = write_run(tmp_path / "unclear", {"a": Sheet(flipped(GOOD, 0, 1))})
    code, _, err = call(capsys, "regress", "--baseline", base, "--candidate", other, "--junit", tmp_path / "j.xml")
    assert code == 2
    assert err.startswith("error: not comparable: only the baseline has the task a (and 1 more)")
    assert SCHEMA.validate(etree.parse(tmp_path / "j.xml"))
    runs = ("regress", "--baseline", base, "--candidate", unclear)
    assert call(capsys, *runs)[0] == 0
    assert call(capsys, *runs, "--fail-on-unclear")[0] == 1
    two = write_run(tmp_path / "two", {"a": Sheet(GOOD), "b": Sheet(GOOD)})
    better = write_run(
        tmp_path / "better", {"a": Sheet(flipped(GOOD, *range(60, 100))), "b": Sheet(flipped(GOOD, *range(4)))}
    )
    hidden = ("regress", "--baseline", two, "--candidate", better)
    assert call(capsys, *hidden)[0] == 0
    code, out, _ = call(capsys, *hidden, "--fail-on-unclear")
    assert code == 1
    assert "verdict: better" in out
    assert "note: --fail-on-unclear: can't tell about b, which fails" in out
    assert call(capsys, *runs, "--junit", tmp_path)[0] == 2


@pytest.mark.parametrize("side", ["baseline", "candidate"])
@pytest.mark.parametrize("fault", ["unfinished", "absent", "broken", "other metric"])
def test_a_run_that_cannot_be_read_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, side: str, fault: str
) -> None:
    status = "interrupted" if fault == "unfinished" else "complete"
    paths = {
        "baseline": write_run(tmp_path / "base", {"a": Sheet(GOOD)}),
        "candidate": write_run(tmp_path / "new", {"a": Sheet(GOOD)}),
        side: write_run(tmp_path / "bad", {"a": Sheet(GOOD)}, status=status),
    }
    if fault == "absent":
        paths[side] = tmp_path / "none"
    elif fault == "broken":
        (tmp_path / "bad" / "manifest.json").write_bytes(b"\xff{")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    files = ("--junit", tmp_path / "r" / "j.xml", "--markdown", tmp_path / "r" / "m.md")
    more = ("--metric", "f1") if fault == "other metric" else ()
    runs = ("--baseline", paths["baseline"], "--candidate", paths["candidate"])
    code, out, err = call(capsys, "regress", *runs, "--github", *files, *more)
    assert code == 2
    (line,) = err.splitlines()
    reason = line.removeprefix("error: ")
    assert str(paths["baseline" if more else side]) in reason
    assert out == error_annotation(reason) + "\n"
    assert out.startswith("::error title=not comparable::")
    root = etree.parse(tmp_path / "r" / "j.xml").getroot()
    assert SCHEMA.validate(root), SCHEMA.error_log
    assert (root[0].get("tests"), root[0].get("errors"), root[0].get("failures")) == ("1", "1", "0")
    (error,) = root.iter("error")
    assert (error.get("message"), error.text) == (reason, reason)
    text = (tmp_path / "r" / "m.md").read_text()
    assert text == error_markdown(paths["baseline"].name, paths["candidate"].name, reason)
    assert (tmp_path / "summary.md").read_text() == text


def test_an_unfinished_run_is_named_by_its_state_in_the_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --github nothing is printed but the one line."""
    base = write_run(tmp_path / "base", {"a": Sheet(GOOD)})
    unfinished = write_run(tmp_path / "new", {"a": Sheet(GOOD)}, status="too many failures")
    runs = ("regress", "--baseline", base, "--candidate", unfinished)
    code, out, err = call(capsys, *runs, "--markdown", tmp_path / "m.md")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "is not finished \\(too many failures\\)" in (tmp_path / "m.md").read_text()


def test_keys_do_not_reach_the_reports_of_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "run-api_key=hunter2hunter2"
    files = ("--junit", tmp_path / "j.xml", "--markdown", tmp_path / "m.md")
    code, out, err = call(capsys, "regress", "--baseline", secret, "--candidate", secret, "--github", *files)
    assert code == 2
    assert not any("hunter2" in shown for shown in (out, err, *(file.read_text() for file in files[1::2])))


def test_hostile_errors_stay_text() -> None:
    text = error_junit(HOSTILE, HOSTILE, HOSTILE)
    root = etree.fromstring(text.encode())
    assert SCHEMA.validate(root), SCHEMA.error_log
    assert len(list(root.iter())) == 4
    assert "\u202e" not in text
    line = error_annotation(HOSTILE)
    assert not any(char in line for char in "\n\r\x1b\u202e")
    document = error_markdown(HOSTILE, HOSTILE, HOSTILE)
    assert "\x1b" not in document
    assert "\n::error" not in document
    page = MarkdownIt("commonmark").render(document)
    assert (page.count("<li>"), page.count("<h2>"), page.count("<h1>")) == (3, 1, 0)
    for part in ("<script", "<a ", "<img", "<code", "</details>"):
        assert part not in page
