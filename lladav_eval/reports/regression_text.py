"""A regression for people: on the terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from lladav_eval.reports.escape import escape_markdown, markdown_code, printable, shorten
from lladav_eval.reports.output import print_table
from lladav_eval.reports.regression import Flip, Regression, Row, fails
from lladav_eval.reports.run_data import RunData
from lladav_eval.reports.statistics import METHODS

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 20
"""Changed samples and reasons listed each way; the number of all is given too, and the JSON has all of them."""
COLUMNS = ("", "n", "before", "after", "change", "interval", "lost", "won", "p", "verdict")
TOGETHER = "Samples that share a picture, a video or a question are tested as one observation."
_STYLES = {"worse": "bold red", "better": "green", "can't tell": "yellow", "not comparable": "bold red"}


def cells(row: Row) -> tuple[str, ...]:
    """One row of plain text, in the order of COLUMNS."""
    return (
        row.name, str(row.n), f"{row.baseline:.1f}", f"{row.candidate:.1f}", f"{row.difference:+.1f}",
        f"{row.low:+.1f} to {row.high:+.1f}", str(row.losses), str(row.wins), f"{row.p_corrected:.2g}", row.verdict,
    )  # fmt: skip


def run_line(run: RunData) -> str:
    """A run with all that must stand beside its numbers, as plain text."""
    mode = "" if run.approximate is None else f", approximate decoding ({run.approximate})"
    return (
        f"{run.label}: {run.model}, {run.kind}, protocol {run.protocol}, n = {run.asked}, "
        f"commit {run.version}, {run.date}{mode}"
    )


def method_line(regression: Regression) -> str:
    """How the figures were made."""
    used = sorted({row.test for row in regression.rows})
    settings = regression.settings
    names = " and ".join(METHODS[test] for test in used)
    return (
        f"Paired on samples; {names}, p corrected by Holm, level {settings.alpha:g}, "
        f"tolerance {settings.tolerance:g} points; differences on 0-100 with {100 * (1 - settings.alpha):g} % "
        "intervals." + (f" {TOGETHER}" if any(row.observations < row.n for row in regression.rows) else "")
    )


def print_regression(regression: Regression, console: Console) -> None:
    """Verdict, table, reasons, changed samples."""
    from rich.table import Table
    from rich.text import Text

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style), soft_wrap=True)

    say(f"baseline   {run_line(regression.baseline)}")
    say(f"candidate  {run_line(regression.candidate)}")
    for reason in regression.reasons[:SHOWN]:
        say(f"- {reason}")
    if regression.rows:
        table = Table(box=None, padding=(0, 1, 0, 0))
        for number, column in enumerate(COLUMNS):
            side: Literal["left", "right"] = "left" if number in (0, len(COLUMNS) - 1) else "right"
            table.add_column(column, justify=side, no_wrap=number > 0, overflow="fold")
        for row in regression.rows:
            *figures, verdict = (printable(cell) for cell in cells(row))
            table.add_row(*map(Text, figures), Text(verdict, style=_STYLES.get(row.verdict, "")))
        print_table(console, table)
        say(method_line(regression), "dim")
    for row in regression.rows:
        if row.verdict in ("worse", "can't tell"):
            say(f"- {row.name}: {row.reason}")
    for title, flips in (("lost", regression.lost), ("won", regression.won)):
        if flips:
            say(f"{title}: {_identities(flips)}")
    for note in regression.notes:
        say(f"note: {note}", "dim")
    say(f"verdict: {regression.verdict}", _STYLES.get(regression.verdict, "green"))


def _identities(flips: Sequence[Flip]) -> str:
    shown = ", ".join(f"{flip.task.removeprefix('lladav_')}#{flip.doc_id}" for flip in flips[:SHOWN])
    return f"{len(flips)} ({shown}{', ...' if len(flips) > SHOWN else ''})"


def markdown(regression: Regression) -> str:
    """A document for a pull request's comment or a step summary; long lists are folded and cut."""
    lines = [f"## Regression: {regression.verdict}", ""]
    lines += [f"- baseline {escape_markdown(run_line(regression.baseline))}"]
    lines += [f"- candidate {escape_markdown(run_line(regression.candidate))}", ""]
    if regression.reasons:
        lines += ["The runs can't be compared:", ""]
        lines += [f"- {escape_markdown(shorten(reason, 300))}" for reason in regression.reasons[:SHOWN]]
        return "\n".join(lines) + "\n"
    lines += ["| " + " | ".join(COLUMNS) + " |"]
    lines += ["|" + "|".join(" --- " if number in (0, 9) else " ---: " for number in range(len(COLUMNS))) + "|"]
    for row in regression.rows:
        figures = [escape_markdown(cell) for cell in cells(row)]
        if row.verdict == "worse" or fails(row, regression.settings):
            figures[-1] = f"**{figures[-1]}**"
        lines += ["| " + " | ".join(figures) + " |"]
    lines += ["", method_line(regression), ""]
    told = [row for row in regression.rows if row.verdict in ("worse", "can't tell")]
    lines += [f"- {escape_markdown(row.name)}: {escape_markdown(row.reason)}" for row in told]
    lines += [f"- {escape_markdown(shorten(note, 300))}" for note in regression.notes]
    for title, flips in (("lost", regression.lost), ("won", regression.won)):
        lines += _flip_table(title, flips)
    return "\n".join(lines) + "\n"


def error_markdown(baseline: str, candidate: str, reason: str) -> str:
    """The same document where a run can't be read. Runs by the names of their folders."""
    lines = ["## Regression: not comparable", ""]
    lines += [f"- baseline {escape_markdown(baseline)}", f"- candidate {escape_markdown(candidate)}", ""]
    lines += ["The runs can't be compared:", "", f"- {escape_markdown(reason)}"]
    return "\n".join(lines) + "\n"


def _flip_table(title: str, flips: Sequence[Flip]) -> list[str]:
    if not flips:
        return []
    shown = f", the first {SHOWN} shown" if len(flips) > SHOWN else ""
    lines = ["", f"<details><summary>{len(flips)} samples {title}{shown}</summary>", ""]
    lines += ["| task | doc_id | target | baseline said | candidate said |", "| --- | ---: | --- | --- | --- |"]
    for flip in flips[:SHOWN]:
        task = escape_markdown(flip.task.removeprefix("lladav_"))
        said = (_said(flip.text_before, flip.status_before), _said(flip.text_after, flip.status_after))
        target = markdown_code(shorten(str(flip.target)))
        lines += [f"| {task} | {flip.doc_id} | {target} | {said[0]} | {said[1]} |"]
    return [*lines, "", "</details>"]


def _said(text: str, status: str) -> str:
    return markdown_code(shorten(text)) + ("" if status == "scored" else f" ({status})")
