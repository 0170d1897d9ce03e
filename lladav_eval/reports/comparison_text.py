"""A comparison for people: on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from lladav_eval.reports.comparison import Comparison, Pair
from lladav_eval.reports.cost import COST, EXPLAINED, cost_cells, figure
from lladav_eval.reports.escape import escape_markdown, printable
from lladav_eval.reports.output import print_table
from lladav_eval.reports.regression_text import TOGETHER, run_line
from lladav_eval.reports.statistics import METHODS

if TYPE_CHECKING:
    from rich.console import Console

QUALITY = (
    "task", "model", "n", "score", "95 % interval", "failed", "passes/sample", "samples/second", "tokens/second",
)  # fmt: skip
COSTS = ("task", "model", *COST)
RATIOS = ("task", "model", "passes ratio", "interval", "seconds ratio", "FLOP ratio")
CATEGORIES = ("task", "category", "model", "n", "score", "95 % interval")
PAIRS = ("task", "model", "n", "difference", "interval", "won", "lost", "tied", "p", "n can show")


def quality_columns(comparison: Comparison) -> tuple[str, ...]:
    """QUALITY, with a column of its own for the scores of approximate decoding where there are some."""
    titles = [name for name, there in (("score", False), ("approximate score", True)) if there in _kinds(comparison)]
    place = QUALITY.index("score")
    return (*QUALITY[:place], *titles, *QUALITY[place + 1 :])


def _kinds(comparison: Comparison) -> set[bool]:
    """Whether there are exact (False) and approximate (True) scores."""
    return {entry.approximate is not None for entry in comparison.entries}


def quality_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """One row of plain text per run and task, in the order of quality_columns."""
    kinds = sorted(_kinds(comparison))
    return [
        (
            entry.task.removeprefix("lladav_"), comparison.labels[entry.run], str(entry.n),
            *(f"{entry.score:.1f}" if (entry.approximate is not None) == kind else "-" for kind in kinds),
            f"{entry.low:.1f} to {entry.high:.1f}", str(entry.failed), figure(entry.forward_passes, ".1f"),
            figure(entry.samples_per_second), figure(entry.tokens_per_second),
        )
        for entry in comparison.entries
    ]  # fmt: skip


def category_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Scores by category, in the order of CATEGORIES."""
    return [
        (
            entry.task.removeprefix("lladav_"), entry.category, comparison.labels[entry.run], str(entry.n),
            f"{entry.score:.1f}", f"{entry.low:.1f} to {entry.high:.1f}",
        )
        for entry in comparison.categories
    ]  # fmt: skip


def cost_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """The rest of the cost, in the order of COSTS."""
    return [
        (entry.task.removeprefix("lladav_"), comparison.labels[entry.run], *cost_cells(entry.cost))
        for entry in comparison.entries
    ]


def ratio_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Each run's cost as a multiple of the first's, in the order of RATIOS."""
    return [
        (
            ratio.task.removeprefix("lladav_"), comparison.labels[ratio.run], figure(ratio.forward_passes, ".2f"),
            "-" if ratio.low is None else f"{ratio.low:.2f} to {ratio.high:.2f}", figure(ratio.seconds, ".2f"),
            figure(ratio.flops, ".2f"),
        )
        for ratio in comparison.ratios
    ]  # fmt: skip


def _tables(comparison: Comparison) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Columns and rows of every table."""
    return [
        (quality_columns(comparison), quality_rows(comparison)),
        (PAIRS, pair_rows(comparison)),
        (COSTS, cost_rows(comparison)),
        (RATIOS, ratio_rows(comparison)),
    ]


def pair_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Each run against the first, in the order of PAIRS."""
    return [
        (
            pair.task.removeprefix("lladav_"), comparison.labels[pair.run], str(pair.n),
            f"{pair.difference:+.1f}", f"{pair.low:+.1f} to {pair.high:+.1f}", str(pair.wins),
            str(pair.losses), str(pair.n - pair.wins - pair.losses), f"{pair.p_corrected:.2g}",
            _can_show(pair),
        )
        for pair in comparison.pairs
    ]  # fmt: skip


def _can_show(pair: Pair) -> str:
    if pair.paired.test != "mcnemar":
        return "-"
    return "nothing" if pair.smallest is None else f"{pair.smallest:.1f}"


def method_line(comparison: Comparison) -> str:
    """How the figures were made."""
    used = " and ".join(METHODS[test] for test in sorted({pair.paired.test for pair in comparison.pairs}))
    tests = len(comparison.pairs)
    return (
        f"On the samples that all runs have, against {comparison.labels[0]}: {used}, p corrected by Holm over "
        f"{tests} test{'s' * (tests != 1)}, {100 * (1 - comparison.alpha):g} % intervals of the difference; "
        "'n can show' is the smallest difference that McNemar's test of so many samples could ever show."
        + (f" {TOGETHER}" if any(pair.paired.n < pair.n for pair in comparison.pairs) else "")
    )


def cost_line(comparison: Comparison) -> str:
    """How the costs were counted."""
    return (
        f"{EXPLAINED} Ratios are to {comparison.labels[0]}, of means over the samples that both answered; "
        f"{100 * (1 - comparison.alpha):g} % paired bootstrap interval."
    )


def markdown(comparison: Comparison) -> str:
    """A Markdown document."""
    lines = ["# Comparison", ""]
    for label, run in zip(comparison.labels, comparison.runs, strict=True):
        lines.append(f"- {escape_markdown(label)}: {escape_markdown(run_line(run))}")
    for columns, rows in _tables(comparison):
        lines += _pipe_table(columns, rows)
    if comparison.categories:
        lines += ["", "<details><summary>Scores by category</summary>"]
        lines += [*_pipe_table(CATEGORIES, category_rows(comparison), 3), "", "</details>"]
    lines += ["", escape_markdown(method_line(comparison)), "", escape_markdown(cost_line(comparison)), ""]
    lines += [f"- {escape_markdown(note)}" for note in comparison.notes]
    return "\n".join(lines) + "\n"


def _pipe_table(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 2) -> list[str]:
    """Lines of a Markdown table; its first ``texts`` columns are words."""
    lines = ["", "| " + " | ".join(columns) + " |"]
    lines += ["|" + "|".join(" --- " if number < texts else " ---: " for number in range(len(columns))) + "|"]
    return lines + ["| " + " | ".join(escape_markdown(cell) for cell in row) + " |" for row in rows]


def print_comparison(comparison: Comparison, console: Console, categories: bool = False) -> None:
    """The same on the terminal; scores by category where asked for."""
    from rich.table import Table
    from rich.text import Text

    say: Callable[[str], None] = lambda text: console.print(Text(printable(text)), soft_wrap=True)  # noqa: E731
    for label, run in zip(comparison.labels, comparison.runs, strict=True):
        say(f"{label}  =  {run_line(run)}")
    tables = [(columns, rows, 2) for columns, rows in _tables(comparison)]
    if categories and comparison.categories:
        tables.append((CATEGORIES, category_rows(comparison), 3))
    for columns, rows, texts in tables:
        table = Table(box=None, padding=(0, 1, 0, 0))
        for number, column in enumerate(columns):
            side: Literal["left", "right"] = "left" if number < texts else "right"
            title = (
                column.replace(" % ", " %\n")
                .replace("/", "\n/")
                .replace(" can ", "\ncan ")
                .replace("approximate ", "approximate\n")
                .replace("difference", "diff.")
            )
            title = title.replace(" ", "\n") if columns in (COSTS, RATIOS) else title
            table.add_column(title, justify=side, no_wrap=number >= texts, overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        print_table(console, table)
    say(method_line(comparison))
    say(cost_line(comparison))
    for note in comparison.notes:
        say(f"note: {note}")
    if categories and not comparison.categories:
        say("note: --categories: no task of these runs has categories")
