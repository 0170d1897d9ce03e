"""``lladav-eval data``: fetch, pin, check and export the data sets of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lladav_eval.cli.run import IncludePath

if TYPE_CHECKING:
    from lladav_eval.data.hub import RemoteFile
    from lladav_eval.data.lock import Entry
    from lladav_eval.data.recipe import Recipe

EXAMPLES = """Examples:

lladav-eval data fetch --task mmmu --dry-run

lladav-eval data fetch --task mmmu,chartqa

lladav-eval data export --task mmmu --out ./data --text-only

lladav-eval score --task mmmu --predictions answers.jsonl --data ./data"""

app = typer.Typer(name="data", no_args_is_help=True, rich_markup_mode=None, epilog=EXAMPLES)

Task = Annotated[str, typer.Option("--task", "-t", help="Tasks or groups, separated by commas.")]
MaybeTask = Annotated[str | None, typer.Option("--task", "-t", help="Tasks or groups; default: all that are pinned.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder; default: the folder of fetched data.")]
Accept = Annotated[bool, typer.Option("--accept-new-revision", help="Take changed data and pin their revision.")]


def register(main: typer.Typer) -> None:
    """Add the command group."""
    main.add_typer(app, help="Fetch, pin, check and export the data sets of tasks.")


@app.command("list", epilog="Example: lladav-eval data list")
def list_data(include_path: IncludePath = None, data: Data = None) -> None:
    """List every task's data set, and what is there of it. No network."""
    from rich.table import Table
    from rich.text import Text

    from lladav_eval.cli.console import output
    from lladav_eval.data.lock import read_lock
    from lladav_eval.reports.output import print_table
    from lladav_eval.runs.tasks import PREFIX, list_tasks

    root = _root(data)
    pinned = read_lock(root)
    table = Table()
    for column in ("task", "data set", "GB", "in the data folder"):
        table.add_column(column, overflow="fold", no_wrap=column in ("task", "GB"))
    folders = include_path or ()
    names = [name for name, entry in sorted(list_tasks(folders).items()) if entry.kind == "task"]
    for name, recipe in _recipes(names, folders):
        split = recipe.split if recipe else None
        size = f"{recipe.size_gb:g}" if recipe and recipe.size_gb is not None else ""
        state = _state(root, pinned.get(split.name)) if split else "comes with the task"
        table.add_row(*map(Text, (name.removeprefix(PREFIX), split.name if split else "", size, state)))
    print_table(output(), table)
    typer.echo(f"data folder: {root}")


@app.command("fetch", epilog="Example: lladav-eval data fetch --task mmmu --dry-run")
def fetch_data(
    task: Task,
    include_path: IncludePath = None,
    out: Annotated[Path | None, typer.Option(help="Data folder; default: the folder of fetched data.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the sizes and stop.")] = False,
    accept_new_revision: Accept = False,
) -> None:
    """Fetch what tasks need from the hub. Sizes first, then the files; then their revision is pinned. Resumable."""
    from lladav_eval.cli.quiet import quiet_libraries

    quiet_libraries()
    from lladav_eval.data.hub import Hub, require_room
    from lladav_eval.data.source import fetch, plan_fetch

    root, hub = _root(out), Hub()
    plans = [
        plan_fetch(
            recipe.split, root, hub, revision=recipe.revision, media=recipe.media,
            accept_new_revision=accept_new_revision,
        )
        for recipe in _distinct(task, include_path)
    ]  # fmt: skip
    for plan in plans:
        chosen = plan.selection
        typer.echo(
            f"{chosen.split.name}  {len(chosen.files)} files, {_size(chosen.size)}; to fetch {_size(plan.size)}; "
            f"revision {chosen.revision[:12]}"
        )
    total = sum(plan.size for plan in plans)
    typer.echo(f"to fetch in all: {_size(total)} into {root}")
    if dry_run:
        return
    require_room(root, total)
    for plan in plans:
        done = 0

        def report(file: RemoteFile, count: int = len(plan.missing)) -> None:
            nonlocal done
            done += 1
            typer.echo(f"[{done}/{count}] {file.path} ({_size(file.size)})", err=True)

        fetch(plan, hub, report)
        typer.echo(f"{plan.selection.split.name}  ready")


@app.command("lock", epilog="Example: lladav-eval data lock --task mmmu --data ./data")
def lock_data(
    task: Task, include_path: IncludePath = None, data: Data = None, accept_new_revision: Accept = False
) -> None:
    """Pin the files that lie in a data folder. It doesn't matter who put them there; no network."""
    from lladav_eval.data.source import pin_local

    root = _root(data)
    for recipe in _distinct(task, include_path):
        entry = pin_local(recipe.split, root, accept_new_revision)
        typer.echo(f"{recipe.split.name}  pinned at {entry.revision}")


@app.command("verify", epilog="Example: lladav-eval data verify --data ./data")
def verify_data(task: MaybeTask = None, include_path: IncludePath = None, data: Data = None) -> None:
    """Compare files with their pinned checksums. Exit code 1 if one differs."""
    from lladav_eval.data.lock import LOCK_NAME, read_lock, wrong_files
    from lladav_eval.errors import UsageError

    root = _root(data)
    pinned = read_lock(root)
    names = sorted(pinned)
    if task is not None:
        names = [recipe.split.name for recipe in _distinct(task, include_path)]
    for name in names:
        if name not in pinned:
            raise UsageError(f"{name} is not pinned in {root / LOCK_NAME}: fetch it, or run `lladav-eval data lock`")
    if not names:
        raise UsageError(f"nothing is pinned in {root}: fetch something, or run `lladav-eval data lock`")
    reasons = [reason for name in names for reason in wrong_files(root, pinned[name])]
    for reason in reasons:
        typer.echo(f"error: {reason}", err=True)
    typer.echo(f"{len(names)} splits checked, {len(reasons)} files differ")
    if reasons:
        raise typer.Exit(1)


@app.command("export", epilog="Example: lladav-eval data export --task chartqa --out ./data")
def export_data(
    task: Task,
    out: Annotated[Path, typer.Option(help="Folder to write, for --data.")],
    include_path: IncludePath = None,
    data: Annotated[Path | None, typer.Option("--data", help="Read from this folder instead of the hub.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use what was fetched before.")] = False,
    text_only: Annotated[
        bool, typer.Option("--text-only", help="Without images and videos: enough for score.")
    ] = False,
) -> None:
    """Write tasks' data sets as a folder for --data. One file a split, revisions pinned."""
    from lladav_eval.cli.quiet import quiet_libraries

    quiet_libraries(offline)
    from lladav_eval.data.export import export_media, export_split
    from lladav_eval.data.lock import read_lock
    from lladav_eval.data.source import open_table

    source = _root(data)
    for recipe in _distinct(task, include_path):
        split = recipe.split
        table = open_table(
            split.dataset, split.config, split.split, data_dir=data, offline=offline, revision=recipe.revision
        )
        path = export_split(split, table, out, text_only)
        typer.echo(f"{path}  {len(table)} rows, {_size(path.stat().st_size)}")
        entry = read_lock(source).get(split.name)
        if entry is not None and entry.media and not text_only:
            typer.echo(f"{out / split.dataset}  {export_media(entry, split, source, out)} media files")
        elif recipe.media and not text_only:
            typer.echo(f"note: {split.name}: its videos aren't pinned, copy them to {out / split.dataset}", err=True)


def _root(data: Path | None) -> Path:
    from lladav_eval.data.source import default_data_dir

    return default_data_dir() if data is None else data


def _recipes(names: Sequence[str], folders: Sequence[Path]) -> list[tuple[str, Recipe | None]]:
    """By task; None for data that come with it."""
    from lladav_eval.data.recipe import read_recipe
    from lladav_eval.runs.tasks import read_task

    return [(name, read_recipe(read_task(name, folders))) for name in names]


def _distinct(task: str, include_path: Sequence[Path] | None) -> list[Recipe]:
    """What the tasks need, each split once; raises UsageError if all of them carry their own data."""
    from lladav_eval.errors import UsageError
    from lladav_eval.runs.tasks import resolve_tasks

    folders = include_path or ()
    names = resolve_tasks(task.split(","), folders)
    recipes = {recipe.split.name: recipe for _, recipe in _recipes(names, folders) if recipe is not None}
    if not recipes:
        raise UsageError(f"{', '.join(names)}: the data come with the task, there is nothing to do")
    return list(recipes.values())


def _state(root: Path, entry: Entry | None) -> str:
    from lladav_eval.data.lock import missing_files

    if entry is None:
        return "-"
    if missing_files(root, entry):
        return f"incomplete, pinned {entry.revision[:14]}"
    return f"ready, pinned {entry.revision[:14]}"


def _size(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"
