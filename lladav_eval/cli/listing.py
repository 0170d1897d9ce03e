"""``lladav-eval tasks`` and ``lladav-eval models``: what ``--task`` and ``--model`` accept."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lladav_eval.cli.run import IncludePath

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("tasks", epilog="Example: lladav-eval tasks --json")(tasks)
    app.command("models", epilog="Example: lladav-eval models")(models)


def tasks(include_path: IncludePath = None, as_json: Json = False) -> None:
    """List the tasks and groups that --task accepts."""
    from lladav_eval.runs.tasks import PREFIX, list_tasks

    found = [
        {
            "name": entry.name,
            "short": entry.name.removeprefix(PREFIX),
            "kind": entry.kind,
            "members": list(entry.members),
            "dataset": entry.dataset,
            "description": entry.description,
        }
        for _, entry in sorted(list_tasks(include_path or ()).items())
    ]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    _table(
        ("name", "kind", "description"),
        [
            (str(entry["short"]), str(entry["kind"]), str(entry["description"] or ", ".join(entry["members"])))
            for entry in found
        ],
    )


def models(as_json: Json = False) -> None:
    """List the models that --model accepts."""
    from lladav_eval.adapters.models import AVAILABLE

    if as_json:
        typer.echo(json.dumps([{"name": name, "description": text} for name, text in AVAILABLE.items()], indent=2))
        return
    _table(("name", "description"), list(AVAILABLE.items()))


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from lladav_eval.cli.console import output
    from lladav_eval.reports.output import print_table

    table = Table()
    for column in columns:  # what is typed stays whole
        table.add_column(column, overflow="fold", no_wrap=column != "description")
    for row in rows:
        table.add_row(*map(Text, row))
    print_table(output(), table)
