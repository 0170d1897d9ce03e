"""``lladav-eval regress``: is a candidate run worse than a baseline run?"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lladav_eval.reports.regression import Regression

EXAMPLES = """Examples:

lladav-eval regress --baseline results/baselines/pocket --candidate results/runs/mine

lladav-eval regress --baseline A --candidate B --tolerance 1 --junit regress.xml --markdown regress.md

lladav-eval regress --baseline A --candidate B --github        (in a GitHub workflow)

Exit code 0: not worse; 1: worse (or can't tell, with --fail-on-unclear); 2: not comparable (no baseline, other data,
protocol or samples, a run that didn't finish), or bad input. What pipelines do with them: docs/ci/README.md."""


class TestName(str, Enum):
    """Statistical tests."""

    mcnemar = "mcnemar"
    bootstrap = "bootstrap"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("regress", epilog=EXAMPLES)(regress)


def regress(
    baseline: Annotated[Path, typer.Option(help="Run directory to compare against.")],
    candidate: Annotated[Path, typer.Option(help="Run directory to judge.")],
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown for a pull request here.")] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations; fill $GITHUB_STEP_SUMMARY.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line, no table.")] = False,
    test: Annotated[
        TestName | None, typer.Option(help="Default: McNemar's for right-or-wrong samples, bootstrap elsewhere.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Significance level, after Holm's correction.")] = 0.05,
    tolerance: Annotated[float, typer.Option(help="Points (0-100) that the candidate may lose.")] = 0.0,
    metric: Annotated[str | None, typer.Option(help="Metric instead of each task's headline.")] = None,
    fail_on_unclear: Annotated[
        bool, typer.Option("--fail-on-unclear", help="Exit 1 also where n is too small to tell.")
    ] = False,
) -> None:
    """Say whether a run is worse than a baseline. On the same samples, paired."""
    from lladav_eval.errors import EvalError, UsageError
    from lladav_eval.reports.ci import junit as junit_xml
    from lladav_eval.reports.load import load_run
    from lladav_eval.reports.output import write_report
    from lladav_eval.reports.regression import Settings
    from lladav_eval.reports.regression import regress as compare
    from lladav_eval.reports.regression_text import markdown as markdown_text

    if junit is not None and markdown is not None and junit.resolve() == markdown.resolve():
        raise UsageError(f"--junit and --markdown both name {junit}: give each a file of its own")
    try:
        settings = Settings(None if test is None else test.value, alpha, tolerance, metric, fail_on_unclear)
        regression = compare(load_run(baseline), load_run(candidate), settings)
    except EvalError as error:
        _report_error(error, baseline, candidate, junit, markdown, github)
        raise
    if junit is not None:
        write_report(junit, junit_xml(regression))
    if markdown is not None:
        write_report(markdown, markdown_text(regression))
    _show(regression, github, as_json)
    if regression.exit_code == 2:
        typer.echo(f"error: not comparable: {_one_line(regression.reasons)}", err=True)
    if regression.exit_code:
        raise typer.Exit(regression.exit_code)


def _show(regression: Regression, github: bool, as_json: bool) -> None:
    import json
    import secrets

    from lladav_eval.cli.console import output
    from lladav_eval.reports.ci import annotation_lines
    from lladav_eval.reports.regression_text import markdown, print_regression

    if github:
        for line in annotation_lines(regression):
            typer.echo(line)
        _add_to_summary(markdown(regression))
    if as_json:
        typer.echo(json.dumps(regression.as_json(), sort_keys=True))
    else:
        # Inside a workflow, a name that begins with two colons must not be taken for a command.
        token = secrets.token_hex(16) if github else ""
        if github:
            typer.echo(f"::stop-commands::{token}")
        print_regression(regression, output())
        if github:
            typer.echo(f"::{token}::")


def _add_to_summary(text: str) -> None:
    import os

    from lladav_eval.reports.output import append_report

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        append_report(Path(summary), text)
    else:
        typer.echo("warning: GITHUB_STEP_SUMMARY is not set, so no step summary was written", err=True)


def _report_error(
    error: Exception, baseline: Path, candidate: Path, junit: Path | None, markdown: Path | None, github: bool
) -> None:
    """The reports that were asked for, with the line that stderr gets: pipelines call us after failed runs too, and
    people look at what a pipeline keeps."""
    from lladav_eval.errors import EvalError
    from lladav_eval.reports.ci import error_annotation, error_junit
    from lladav_eval.reports.escape import printable
    from lladav_eval.reports.output import write_report
    from lladav_eval.reports.regression_text import error_markdown
    from lladav_eval.runs.manifest import redact

    reason = redact(printable(" ".join(str(error).split())))
    runs = redact(baseline.absolute().name), redact(candidate.absolute().name)
    if github:
        typer.echo(error_annotation(reason))
        _add_to_summary(error_markdown(*runs, reason))
    for path, text in ((junit, error_junit(*runs, reason)), (markdown, error_markdown(*runs, reason))):
        try:
            if path is not None:
                write_report(path, text)
        except EvalError as unwritten:  # the first reason is the one to end with
            typer.echo(f"warning: {printable(str(unwritten))}", err=True)


def _one_line(reasons: tuple[str, ...]) -> str:
    from lladav_eval.reports.escape import printable

    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return printable(reasons[0]) + more
