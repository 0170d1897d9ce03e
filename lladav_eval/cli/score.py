"""``lladav-eval score``: score recorded answers, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lladav_eval.cli.run import IncludePath, Protocol

if TYPE_CHECKING:
    from lladav_eval.runs.score import ScoreReport

EXAMPLES = """Examples:

lladav-eval score --task mmmu --predictions answers.jsonl --protocol official

lladav-eval score --task mmstar --predictions answers.xlsx --data ./data --json

lladav-eval score --task mmmu --predictions results/runs/mine/samples.jsonl --protocol official

Answers: JSON lines {"doc_id": row, "prediction": text}, a run's or lmms-eval's samples, VLMEvalKit's tables, and what
some benchmarks write themselves (MMMU, MathVista ...): docs/scores.md, "Files of answers"."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("score", epilog=EXAMPLES)(score)


def score(
    task: Annotated[str, typer.Option("--task", "-t", help="The benchmark: mmmu, chartqa, ...")],
    predictions: Annotated[Path, typer.Option("--predictions", "-p", help="File of recorded answers.")],
    include_path: IncludePath = None,
    data: Annotated[Path | None, typer.Option(help="Local data sets instead of the hub.")] = None,
    protocol: Annotated[Protocol, typer.Option(help="Answer rules.")] = Protocol.official,
    judge_replies: Annotated[
        Path | None,
        typer.Option(
            help='Stored replies of a judge, JSON lines {"doc_id": row, "replies": [...]}; a run has its own.'
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object.")] = False,
) -> None:
    """Score recorded answers; no model, no GPU."""
    import json

    from lladav_eval.cli.quiet import quiet_libraries
    from lladav_eval.runs.score import score_predictions

    quiet_libraries(offline)
    report = score_predictions(
        task,
        predictions,
        "official" if protocol is Protocol.official else "strict",
        data_dir=data,
        offline=offline,
        judge_replies=judge_replies,
        include_path=include_path or (),
    )
    for note in report.notes:
        typer.echo(f"note: {report.task}: {note}", err=True)
    _table(report)
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=True))


def _table(report: ScoreReport) -> None:
    from rich.table import Table
    from rich.text import Text

    from lladav_eval.cli.console import output
    from lladav_eval.reports.escape import printable
    from lladav_eval.reports.output import print_table

    counts = report.counts
    commit = (
        "no commit" if report.commit is None else f"commit {report.commit[:10]}" + "+" * report.commit.endswith("+")
    )
    table = Table()
    for number, column in enumerate(("metric", "value", "95 % interval")):
        table.add_column(column, justify="right" if number else "left", no_wrap=number > 0, overflow="fold")
    for name, value in report.metrics.items():
        # Names of groups come from the data set: not to be read as markup.
        main = name == report.headline
        shown = f"{report.interval[0]:.1f} to {report.interval[1]:.1f}" if main and report.interval else "-"
        table.add_row(Text(printable(name)), f"{value:.4f}", shown, style="bold" if main else None)
    if not report.metrics:
        table.add_row(report.headline, "not filled", "-")
    typer.echo(f"{report.task}, protocol {report.protocol}, n = {counts.n}, {commit}, {report.date}")
    print_table(output(), table)
    typer.echo(f"data: {report.revision}")
    typer.echo(
        f"n {counts.n}: scored {counts.scored}, unparsed {counts.unparsed}, empty {counts.empty}, "
        f"failed {counts.failed}"
    )
