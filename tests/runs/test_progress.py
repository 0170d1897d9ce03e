"""What is shown of a run while it goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lladav_eval.runs.progress import progress_bars, say


def test_a_line_is_said_as_it_is_and_to_nobody_without_a_console() -> None:
    console = Console(file=io.StringIO(), width=20)
    say(console, "warning: [red]x[/red] of a long line that stays one")
    say(None, "nobody hears")
    assert console.file.getvalue() == "warning: [red]x[/red] of a long line that stays one\n"  # type: ignore[attr-defined]


def test_bars_show_name_and_count_and_nothing_without_a_console(capfd: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    for place in (console, None):
        with progress_bars(place) as progress:
            bar = progress.add_task("[red]toy[/red]", total=10)
            progress.advance(bar, 4)
    assert "[red]toy[/red]" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "4/10" in console.file.getvalue()  # type: ignore[attr-defined]
    assert capfd.readouterr() == ("", "")
