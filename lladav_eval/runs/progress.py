"""What is shown of a run while it goes on: progress bars, and lines beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def say(console: Console | None, text: str) -> None:
    """One line, whatever marks it holds; nothing where there is no console."""
    if console is not None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def progress_bars(console: Console | None) -> Iterator[Progress]:
    """Name, bar, count, rate and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "-/s")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console or Console(quiet=True), disable=console is None) as progress:
        yield progress
