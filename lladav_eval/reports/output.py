"""Writing report files, with one clear line where that is impossible, and tables on a screen of any width."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lladav_eval.errors import UsageError
from lladav_eval.runs.store import RunDirectory

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NARROWEST = 10
"""Columns that a folded name keeps."""
_WIDEST = 10_000
"""Wider than any table."""


def print_table(console: Console, table: Table) -> None:
    """Print a table with its figures whole: half a number is another one. Where the screen is too narrow, the table is
    wider than it; only columns that may wrap are folded."""
    from rich.cells import cell_len
    from rich.measure import Measurement

    wide = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
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

    A device or a pipe is written to, never replaced, and a link stays one. What this command prints to (/dev/stdout, be
    it a file) gets the text among the rest.
    """
    if stream := _own_stream(path):
        stream.write(text)
        stream.flush()
        return
    if path.exists() and not (path.is_file() or path.is_dir()):
        append_report(path, text)
        return
    try:
        path = path.resolve() if path.is_symlink() else path
    except RuntimeError as error:
        raise UsageError(f"{path} can't be written (links lead in a circle): choose another place") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}): choose another place") from error
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give a file name")
    RunDirectory(path.parent).write_text(path, text)


def _own_stream(path: Path) -> TextIO | None:
    """Standard output or error, if that is what the path leads to."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # no such file; a stream without one
            if os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                return stream
    return None


def append_report(path: Path, text: str) -> None:
    """Add to a file that others write to as well. Raises UsageError."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}): choose another place") from error
