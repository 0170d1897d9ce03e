"""A sweep for people and programs: on the terminal, as Markdown and as CSV. Exact and approximate apart everywhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from lladav_eval.reports.cost import figure
from lladav_eval.reports.escape import csv_cell, escape_markdown, printable
from lladav_eval.reports.output import print_table
from lladav_eval.reports.reference import OUR_PROTOCOLS
from lladav_eval.reports.sweep import Left, Row, Sweep, decoding

if TYPE_CHECKING:
    from rich.console import Console

Kind = Literal["exact", "approximate"]
KINDS: tuple[Kind, ...] = ("exact", "approximate")
_TITLES = {"exact": "Exact decoding", "approximate": "Approximate decoding (answers may differ from exact ones)"}
_WORDS = ("task", "steps", "block", "cache", "modes", "front", "not run because")
_LEFT = ("task", "steps", "block", "cache", _WORDS[-1])


def columns(sweep: Sweep, kind: Kind) -> tuple[str, ...]:
    """Column titles of one kind's table; FLOPs only where known, modes only where there are some."""
    mode = ("modes",) if kind == "approximate" else ()
    flops = ("GFLOPs/sample",) if _has_flops(sweep) else ()
    return (
        "task", "steps", "block", *mode, "n", "failed", f"{kind} score", "95 % interval", "passes/sample",
        "seconds/sample", "samples/second", *flops, "front",
    )  # fmt: skip


def table_rows(sweep: Sweep, kind: Kind) -> list[tuple[str, ...]]:
    """One row of plain text per point of this kind, each task's baseline before its exact points."""
    rows = []
    for task in sweep.tasks:
        lines = [row for row in sweep.baseline if row.task == task and decoding(row) == kind]
        rows += [_cells(sweep, row, kind, True) for row in lines]
        rows += [_cells(sweep, row, kind) for row in sweep.rows if row.task == task and decoding(row) == kind]
    return rows


def _cells(sweep: Sweep, row: Row, kind: Kind, baseline: bool = False) -> tuple[str, ...]:
    mode = (row.approximate or "",) if kind == "approximate" else ()
    flops = (figure(None if row.flops is None else row.flops / 1e9),) if _has_flops(sweep) else ()
    settings = (f"baseline {row.model}", "") if baseline else (str(row.steps), str(row.block_length))
    return (
        row.short, *settings, *mode, row.asked, str(row.failed), f"{row.value:.1f}", _interval(row),
        figure(row.forward_passes, ".1f"), figure(row.seconds), figure(row.samples_per_second), *flops, front(row),
    )  # fmt: skip


def front(row: Row) -> str:
    """Against which costs the point is on the Pareto front."""
    return {"seconds": "time", "forward_passes": "passes"}[row.front[0]] if len(row.front) == 1 else (
        "both" if row.front else ""
    )  # fmt: skip


def _interval(row: Row) -> str:
    return "-" if row.low is None or row.high is None else f"{row.low:.1f} to {row.high:.1f}"


def _has_flops(sweep: Sweep) -> bool:
    return any(row.flops is not None for row in (*sweep.rows, *sweep.baseline))


def left_cells(left: Left) -> tuple[str, ...]:
    """A combination that was not run, in plain text."""
    own = "task's own"
    values = [own if value is None else str(value) for value in (left.steps, left.block_length, left.cache)]
    return (left.task.removeprefix("lladav_"), *values, left.reason)


def facts_lines(sweep: Sweep) -> list[str]:
    """What must stand beside the numbers; runs of the same model, protocol, commit and day share a line."""
    found: dict[tuple[str, str], list[str]] = {}
    for run in sweep.runs:
        commit = "no commit" if run["commit"] is None else f"commit {run['commit'][:10]}" + "+" * run["dirty"]
        line = f"{run['model']}, {run['kind']}, protocol {run['protocol']}, {commit}"
        found.setdefault((line, run["date"][:10]), []).append(run["run"])
    lines = [f"{line}, {day}: {len(runs)} run{'s' * (len(runs) > 1)}" for (line, day), runs in found.items()]
    own = {f"{row.short}: {row.changed}": None for row in sweep.rows if row.changed}
    lines += [*own, *(f"baseline {row.model}, {row.short}: {row.changed}" for row in sweep.baseline if row.changed)]
    others = {row.short: row.metric for row in sweep.rows if row.metric in OUR_PROTOCOLS and row.metric != row.protocol}
    return lines + [
        f"{task}: shown is {metric}, as not every run has another figure" for task, metric in others.items()
    ]


NOTE = (
    "front: on the Pareto front of its task against seconds (time), forward passes (passes) or both, among points of "
    "the same kind of decoding. Seconds and passes are per sample; intervals are 95 %."
)


def markdown(sweep: Sweep) -> str:
    """A Markdown document."""
    lines = ["# Sweep", ""]
    lines += [f"- {escape_markdown(line)}" for line in facts_lines(sweep)]
    for kind in KINDS:
        rows = table_rows(sweep, kind)
        if rows:
            lines += ["", f"## {_TITLES[kind]}", *_pipe_table(columns(sweep, kind), rows)]
    lines += ["", NOTE]
    if sweep.skipped:
        lines += ["", "## Not run", *_pipe_table(_LEFT, [left_cells(left) for left in sweep.skipped])]
    return "\n".join(lines) + "\n"


def _pipe_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["", "| " + " | ".join(titles) + " |"]
    lines += ["|" + "|".join(" --- " if title in _WORDS else " ---: " for title in titles) + "|"]
    return lines + ["| " + " | ".join(escape_markdown(cell) for cell in row) + " |" for row in rows]


CSV_COLUMNS = (
    "task", "model", "run", "baseline", "steps", "block_length", "modes", "metric", "n", "failed", "exact_score",
    "exact_low", "exact_high", "approximate_score", "approximate_low", "approximate_high", "forward_passes_per_sample",
    "seconds_per_sample", "samples_per_second", "flops_per_sample", "front", "settings_changed", "protocol",
    "commit", "date", "not_run_because",
)  # fmt: skip


def as_csv(sweep: Sweep) -> str:
    """One line per point and task; what was not run has a reason and no score."""
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for row, baseline in [(row, False) for row in sweep.rows] + [(row, True) for row in sweep.baseline]:
        kind = decoding(row)
        values = {
            "task": row.task, "model": row.model, "run": row.run, "baseline": baseline, "steps": row.steps,
            "block_length": row.block_length, "modes": row.approximate, "metric": row.metric, "n": row.n,
            "failed": row.failed, f"{kind}_score": row.value, f"{kind}_low": row.low, f"{kind}_high": row.high,
            "forward_passes_per_sample": row.forward_passes, "seconds_per_sample": row.seconds,
            "samples_per_second": row.samples_per_second, "flops_per_sample": row.flops, "front": front(row),
            "settings_changed": row.changed, "protocol": row.protocol, "commit": row.commit, "date": row.date,
        }  # fmt: skip
        writer.writerow(_safe(values))
    for left in sweep.skipped:
        modes = None if left.cache is None else f"cache={left.cache}"
        values = {"task": left.task, "steps": left.steps, "block_length": left.block_length, "modes": modes}
        writer.writerow(_safe({**values, "not_run_because": left.reason}))
    return file.getvalue()


def _safe(values: dict[str, object]) -> dict[str, object]:
    return {name: csv_cell(value) if isinstance(value, str) else value for name, value in values.items()}


def print_sweep(sweep: Sweep, console: Console) -> None:
    """The same on the terminal, a table per task, and per mode where decoding is approximate."""
    from rich.table import Table
    from rich.text import Text

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style), soft_wrap=True)

    for line in facts_lines(sweep):
        say(line)
    for kind in KINDS:
        titles, rows = columns(sweep, kind), table_rows(sweep, kind)
        mode = titles.index("modes") if "modes" in titles else None
        for task, modes in dict.fromkeys((row[0], "" if mode is None else row[mode]) for row in rows):
            title = f"{task}, {kind} decoding" + (f", {modes}" if modes else "")
            table = Table(
                title=Text(printable(title), style="bold"), title_justify="left", box=None, padding=(0, 1, 0, 0)
            )
            table.add_column("steps\n/block", no_wrap=True)
            shown = [place for place in range(3, len(titles)) if place != mode]
            for place in shown:
                side: Literal["left", "right"] = "left" if titles[place] in _WORDS else "right"
                head = titles[place].removeprefix(f"{kind} ").replace(" % ", " %\n").replace("/", "\n/")
                table.add_column(head, justify=side, no_wrap=True)
            for row in rows:
                if row[0] == task and (mode is None or row[mode] == modes):
                    point = f"{row[1]}/{row[2]}" if row[2] else row[1].removeprefix("baseline ")
                    table.add_row(*(Text(printable(cell)) for cell in (point, *(row[place] for place in shown))))
            print_table(console, table)
    if any(row.approximate for row in sweep.rows):
        say("Answers of approximate decoding may differ from exact ones.", "dim")
    for line in left_lines(sweep.skipped):
        say(line, "yellow")
    say(NOTE, "dim")


def left_lines(skipped: Sequence[Left]) -> list[str]:
    """What was not run, one line per task and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for left in skipped:
        values = {"steps": left.steps, "block_length": left.block_length, "cache": left.cache}
        point = " ".join(f"{name}={value}" for name, value in values.items() if value is not None)
        found.setdefault((left.task.removeprefix("lladav_"), left.reason), []).append(point)
    return [f"not run: {task}, {'; '.join(points)}: {reason}" for (task, reason), points in found.items()]
