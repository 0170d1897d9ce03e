"""``lladav-eval score``: score recorded answers, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lladav_eval.cli.run import Protocol

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
    )
    for note in report.notes:
        typer.echo(f"note: {report.task}: {note}", err=True)
    _table(report)
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=True))


def _table(report: ScoreReport) -> None:
    from rich.console import Console
    from rich.table import Table

    counts = report.counts
    commit = (
        "no commit" if report.commit is None else f"commit {report.commit[:10]}" + "+" * report.commit.endswith("+")
    )
    title = f"{report.task}, protocol {report.protocol}, n = {counts.n}, {commit}, {report.date}"
    table = Table(title=title, title_justify="left", caption=f"data: {report.revision}", caption_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, value in report.metrics.items():
        # Names of groups come from the data set: not to be read as markup.
        main = name == report.headline
        shown = f"{report.interval[0]:.1f} to {report.interval[1]:.1f}" if main and report.interval else "-"
        table.add_row(_plain(name), f"{value:.4f}", shown, style="bold" if main else None)
    if not report.metrics:
        table.add_row(report.headline, "not filled", "-")
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(
        f"n {counts.n}: scored {counts.scored}, unparsed {counts.unparsed}, empty {counts.empty}, "
        f"failed {counts.failed}"
    )


def _plain(text: str) -> str:
    """Printable characters only."""
    return "".join(character if character.isprintable() else "?" for character in text)
