"""Where tables are printed, and what becomes of them where nobody reads."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from lladav_eval.errors import EnvironmentError_

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import Console

UNBOUND = 240
"""Columns where no screen limits them, so that nothing is broken over lines in logs and files."""


def output() -> Console:
    """Standard output for tables: as wide as the screen, or as ``COLUMNS`` says, or as the tables are."""
    from rich.console import Console

    # Terminals that don't know their width say 0, in which rich prints nothing at all.
    limited = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return Console(width=None if limited and os.environ.get("COLUMNS") != "0" else UNBOUND)


class _Stream(io.FileIO):
    """Standard output or error. What its reader no longer takes is dropped, so that the command ends as it would."""

    lost = False

    def write(self, data: ReadableBuffer) -> int:
        if not self.lost:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = True
                if self.fileno() == 1 and not isinstance(error, BrokenPipeError):
                    raise EnvironmentError_(f"standard output can't be written ({error.strerror})") from None
        return memoryview(data).nbytes


def keep_streams() -> None:
    """Let the process outlive the readers of its standard output and error; closed ones are no streams at all."""
    for name in ("stdout", "stderr"):
        given = getattr(sys, name)
        if given is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
            continue
        buffer = io.BufferedWriter(_Stream(given.fileno(), "w", closefd=False))
        # A character that the locale doesn't have, or a file name that is no text, must not end a finished command.
        errors = "backslashreplace" if given.errors == "strict" or given.encoding == "ascii" else given.errors
        setattr(sys, name, io.TextIOWrapper(buffer, given.encoding, errors, line_buffering=given.line_buffering))
