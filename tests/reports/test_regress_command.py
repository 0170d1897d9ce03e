"""The command `regress`: exit codes, what it prints, and the reports of runs that can't be compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree
from reports.pairs import GOOD, SCHEMA, flipped, hostile_pair
from reports.synthetic import Sheet, write_run

from lladav_eval.cli import main
from lladav_eval.reports.ci import error_annotation
from lladav_eval.reports.regression_text import error_markdown


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main.invoke([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hostile_pair(tmp_path)
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
    same = ("--junit", tmp_path / "both", "--markdown", tmp_path / "x" / ".." / "both")
    code, _, err = call(capsys, "regress", "--baseline", base, "--candidate", base, *same)
    assert (code, err) == (
        2,
        f"error: --junit and --markdown both name {tmp_path / 'both'}: give each a file of its own\n",
    )
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
