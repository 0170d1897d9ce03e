"""``lladav-eval leaderboard``: our runs and the published scores in one table."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """Examples:

lladav-eval leaderboard

lladav-eval leaderboard results/runs/* --format html --out leaderboard.html

lladav-eval leaderboard results/runs/mine --format card        (model-index of a Hugging Face model card)"""


class Format(str, Enum):
    """What to write."""

    md = "md"
    csv = "csv"
    tex = "tex"
    html = "html"
    json = "json"
    card = "card"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("leaderboard", epilog=EXAMPLES)(leaderboard)


def leaderboard(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run directories.")] = None,
    output: Annotated[Format, typer.Option("--format", help="card: the runs alone, as YAML.")] = Format.md,
    out: Annotated[Path | None, typer.Option(help="Write here instead of the terminal.")] = None,
) -> None:
    """Show runs beside the published scores. By kind of model."""
    from lladav_eval.reports.leaderboard import build
    from lladav_eval.reports.leaderboard_formats import FORMATS, as_card
    from lladav_eval.reports.load import load_run
    from lladav_eval.reports.output import write_report
    from lladav_eval.reports.reference import load_references

    loaded = [load_run(run) for run in runs or []]
    text = as_card(loaded) if output is Format.card else FORMATS[output.value](build(loaded, load_references()))
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_report(out, text)
        typer.echo(f"written: {out}", err=True)
