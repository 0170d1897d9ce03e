"""``lladav-eval log``: finished runs to an experiment tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """Examples:

lladav-eval log results/runs/mine --wandb my-project

lladav-eval log results/runs/* --wandb my-project --entity my-team --group nightly --tag pocket

lladav-eval log results/runs/mine --wandb my-project --offline        (then: wandb sync wandb/offline-run-...)

Needs pip install 'lladav_eval[wandb]' and, unless offline, `wandb login`. Repeated, it updates the same W&B run."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("log", epilog=EXAMPLES)(log)


def log(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
    wandb: Annotated[str, typer.Option(metavar="PROJECT", help="Project of Weights & Biases.")],
    entity: Annotated[str | None, typer.Option(help="Team or user; default: the account's own.")] = None,
    group: Annotated[str | None, typer.Option(help="Group of the runs.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Repeatable.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Samples of every task in the table; 0 is none.")] = 1000,
    offline: Annotated[bool, typer.Option("--offline", help="Write to disk only (also: WANDB_MODE=offline).")] = False,
) -> None:
    """Log runs to Weights & Biases. Scores, intervals, settings and samples."""
    from lladav_eval.reports.load import load_run
    from lladav_eval.reports.wandb_log import Destination, log_run

    destination = Destination(wandb, entity, group, tuple(tag or ()), offline)
    destination.check()
    for run in [load_run(path) for path in runs]:  # all are read before any is sent
        typer.echo(f"logged: {run.label} -> {log_run(run, destination, samples)}")
