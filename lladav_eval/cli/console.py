"""Where tables are printed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

UNBOUND = 240
"""Columns where no screen limits them, so that nothing is broken over lines in logs and files."""


def output() -> Console:
    """Standard output for tables: as wide as the screen, or as ``COLUMNS`` says, or as the tables are."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else UNBOUND)
