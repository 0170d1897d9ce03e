"""``lladav-eval compare``: runs side by side, quality and cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lladav_eval.cli.regress import TestName

EXAMPLES = """Examples:

lladav-eval compare results/runs/pocket-... results/runs/pocket-ar-...

lladav-eval compare A B C --out comparison        (adds comparison.md and plots)

The first run is the one that the others are compared with."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", epilog=EXAMPLES)(compare)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories, two at least.")],
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.md and the plots (PNG, SVG).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line, no table.")] = False,
    test: Annotated[
        TestName | None, typer.Option(help="Default: McNemar's for right-or-wrong samples, bootstrap elsewhere.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Level of the tests and intervals.")] = 0.05,
    metric: Annotated[str | None, typer.Option(help="Metric instead of each task's headline.")] = None,
    categories: Annotated[bool, typer.Option("--categories", help="Scores by category on the terminal too.")] = False,
) -> None:
    """Compare runs on the samples that all of them have."""
    import json

    from lladav_eval.cli.console import output
    from lladav_eval.reports.comparison import compare_runs
    from lladav_eval.reports.comparison_text import markdown, print_comparison
    from lladav_eval.reports.load import load_run

    comparison = compare_runs([load_run(run) for run in runs], metric, None if test is None else test.value, alpha)
    written: list[Path] = []
    if out is not None:
        from lladav_eval.reports.output import write_report
        from lladav_eval.reports.plots import plot_comparison

        written = plot_comparison(comparison, out)
        write_report(out / "comparison.md", markdown(comparison))
        written.append(out / "comparison.md")
    if as_json:
        typer.echo(json.dumps({**comparison.as_json(), "files": [str(path) for path in written]}, sort_keys=True))
        return
    print_comparison(comparison, output(), categories)
    if written:
        typer.echo(f"written: {', '.join(map(str, written))}")
