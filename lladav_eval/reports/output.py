"""Writing report files, with one clear line where that is impossible, and tables on a screen of any width."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lladav_eval.errors import UsageError
from lladav_eval.runs.store import RunDirectory

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NARROWEST = 10
"""Columns that a folded name keeps."""
UNBOUND = 10_000
"""Wider than any table."""


def print_table(console: Console, table: Table) -> None:
    """Print a table with its figures whole: half a number is another one. Where the screen is too narrow, the table is
    wider than it; only columns that may wrap are folded."""
    from rich.cells import cell_len
    from rich.measure import Measurement

    wide = Measurement.get(console, console.options.update(max_width=UNBOUND), table).maximum
    for column in table.columns:
        lines = [line for cell in (column.header, *column.cells) for line in str(cell).split("\n")]
        widest = max(map(cell_len, lines))
        column.min_width = widest if column.no_wrap else min(widest, NARROWEST)
        wide -= widest - column.min_width
    if wide > console.width:  # where names are folded as far as may be
        table.width = wide
    console.print(table, crop=False)


def write_report(path: Path, text: str) -> None:
    """Replace a file as a whole, making its folder where needed. Raises UsageError.

    A device or a pipe (/dev/stdout, say) is written to, never replaced, and a link stays one.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        append_report(path, text)
        return
    path = path.resolve() if path.is_symlink() else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}): choose another place") from error
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give a file name")
    RunDirectory(path.parent).write_text(path, text)


def append_report(path: Path, text: str) -> None:
    """Add to a file that others write to as well. Raises UsageError."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}): choose another place") from error
