"""``lladav-eval report``: a run, or two side by side, as a page that opens from disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lladav_eval.cli.run import IncludePath

if TYPE_CHECKING:
    from rich.console import Console

    from lladav_eval.reports.html_data import Side
    from lladav_eval.reports.run_data import RunData

EXAMPLES = """Examples:

lladav-eval report results/runs/pocket-pocket-...

lladav-eval report RUN RUN2 --out comparison        (side by side, with the flips)

lladav-eval report RUN --no-media

Open index.html of the folder in a browser. Runs made with --trace get a player of the denoising steps."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", epilog=EXAMPLES)(report)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    second: Annotated[Path | None, typer.Argument(metavar="[RUN2]", help="Another one to set beside it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; default RUN/report.")] = None,
    media: Annotated[bool, typer.Option("--media/--no-media", help="Pictures, from the tasks' data sets.")] = True,
    max_media: Annotated[int, typer.Option(min=1, help="Megabytes of pictures at most.")] = 500,
    include_path: IncludePath = None,
    data: Annotated[Path | None, typer.Option(help="Local data sets instead of the hub.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    """Write a page to look at every sample. Scores, pictures, filters, two runs side by side."""
    from rich.console import Console

    from lladav_eval.cli.quiet import quiet_libraries
    from lladav_eval.reports.html import write_html
    from lladav_eval.reports.load import load_run

    quiet_libraries(offline)
    console = Console(stderr=True)
    sides = [_side(load_run(path), console) for path in (run, second) if path is not None]
    pictures = None
    if media:
        from lladav_eval.cli.report_sources import Pictures

        pictures = Pictures([side.run.path for side in sides], data, offline, include_path or ())
    folder = out if out is not None else run / ("report" if second is None else f"report-{second.resolve().name}")
    with console.status(f"writing {sum(len(side.run.samples) for side in sides)} samples"):
        page = write_html(folder, sides, pictures, max_media * 1_000_000)
    typer.echo(f"written: {page}")


def _side(run: RunData, console: Console) -> Side:
    """A run with its traces and, where there are any, the texts of their tokens."""
    from lladav_eval.cli.report_sources import read_traces, token_texts
    from lladav_eval.reports.html_data import Side

    traces = read_traces(run.path)
    if traces is None:
        return Side(run)
    texts, reason = token_texts(run.path)
    if reason is not None:
        line = f"warning: tokens of {run.label} are shown as ids: {reason}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return Side(run, traces, texts, reason)
