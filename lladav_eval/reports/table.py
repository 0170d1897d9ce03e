"""The results of a run, quality and cost: for the terminal (rich) and as Markdown (table.md), from results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lladav_eval.reports.cost import COST, EXPLAINED, figure, run_rows
from lladav_eval.reports.escape import escape_markdown, printable
from lladav_eval.reports.output import print_table
from lladav_eval.reports.run_data import of_all, of_part

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLUMNS = (
    "task", "n", "failed", "unparsed", "empty", "score", "95 % interval", "seconds/sample", "passes/sample",
)  # fmt: skip
SCORE = COLUMNS.index("score")


def header(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Column titles; the score's is the metric's own name where all tasks share it."""
    metrics = {_metric_name(task) for task in results["tasks"].values() if task["metrics"]}
    return (*COLUMNS[:SCORE], *(metrics if len(metrics) == 1 else ("score",)), *COLUMNS[SCORE + 1 :])


def _metric_name(task: Mapping[str, Any]) -> str:
    """Figures of approximate decoding go by another name, so that they never share a column with exact ones."""
    return f"{task['headline']} (approximate)" if task.get("approximate") else str(task["headline"])


def rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row of plain text per task, in the order of COLUMNS; scores on 0-100 unless the task says otherwise."""
    shared = header(results)[SCORE] != "score"
    table: list[tuple[str, ...]] = []
    for name, task in results["tasks"].items():
        metric = task["metrics"].get(task["headline"], {})
        value, low, high = (metric.get(part) for part in ("value", "low", "high"))
        table.append(
            (
                name.removeprefix("lladav_"),
                of_all(task["n"], task.get("rows", 0)),
                str(task["failed"]),
                str(task["unparsed"]),
                str(task["empty"]),
                "-" if value is None else f"{value:.1f}" + ("" if shared else f" {_metric_name(task)}"),
                "-" if low is None else f"{low:.1f} to {high:.1f}",
                figure(task["seconds_per_sample"]),
                figure(task["forward_passes_per_sample"], ".1f"),
            )
        )
    return table


def print_results(results: Mapping[str, Any], console: Console) -> None:
    """Both tables on the terminal; names are shown as plain text, without markup or control characters."""
    console.print(_title(results), style="italic", markup=False, highlight=False, soft_wrap=True)
    print_table(console, _terminal(header(results), rows(results), red=COLUMNS.index("failed")))
    if costs := run_rows(results):
        console.print("\ncost per answered sample", style="italic")
        print_table(console, _terminal(("task", *COST), costs))


def _terminal(columns: Sequence[str], rows: Sequence[Sequence[str]], red: int | None = None) -> Table:
    """``red``: the column shown in red unless it is 0."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        shown = printable(column).replace(" % ", " %\n").replace("/", "\n/").replace(" (", "\n(")
        heading = shown if red is not None else shown.replace(" ", "\n")
        table.add_column(Text(heading), justify="left" if number == 0 else "right", no_wrap=number > 0, overflow="fold")
    for row in rows:
        styles = ["red" if number == red and cell != "0" else "" for number, cell in enumerate(row)]
        table.add_row(*(Text(printable(cell), style=style) for cell, style in zip(row, styles, strict=True)))
    return table


def markdown_table(results: Mapping[str, Any]) -> str:
    """The same as a Markdown document."""
    lines = [f"# {escape_markdown(_title(results))}", "", *_markdown(header(results), rows(results))]
    if costs := run_rows(results):
        lines += ["", *_markdown(("task", *COST), costs), "", escape_markdown(EXPLAINED)]
    for note in notes(results):
        lines += ["", f"Note: {escape_markdown(printable(note))}"]
    return "\n".join(lines) + "\n"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(map(escape_markdown, columns)) + " |",
        "|" + "|".join(" --- " if number == 0 else " ---: " for number in range(len(columns))) + "|",
        *("| " + " | ".join(map(escape_markdown, row)) + " |" for row in rows),
    ]


def notes(results: Mapping[str, Any]) -> list[str]:
    """One line for every figure that is of some samples only, or that isn't there, for files of the task's own, and for
    changed settings that the title doesn't name."""
    found = _changed(results)
    for name, task in results["tasks"].items():
        short, headline = name.removeprefix("lladav_"), task["headline"]
        if task.get("waiting_for_judge") and results["protocol"] == "official":
            found.append(
                f"{short}: {task['waiting_for_judge']} answers wait for a judge, so there is no official figure; shown "
                f"is {headline}"
            )
        if without := task.get("without_figure"):
            found.append(f"{short}: the task's own scoring gives no figure of {', '.join(without)}")
        if task.get("scale_assumed"):
            found.append(f"{short}: figures go beyond 1, so they are shown as the task's own scoring gives them")
        if files := task.get("files"):
            found.append(f"{short}: the task's own scoring wrote {', '.join(files)}, inside the run directory")
        if part := of_part(task["metrics"].get(headline, {}).get("n", task["n"]), task["n"]):
            found.append(f"{short}: {headline} is {part}")
        served = task.get("served_models") or {}
        if len(served) > 1 or any(not results["model"].startswith(f"openai:{model}@") for model in served):
            shown = ", ".join(f"{model} ({answers})" for model, answers in served.items())
            found.append(f"{short}: the endpoint says that its answers are of {shown}")
    return found


def _changed(results: Mapping[str, Any]) -> list[str]:
    shared: dict[str, list[str]] = {}
    for name, task in results["tasks"].items():
        for setting, after in task.get("changed_to", {}).items():
            if setting not in task["settings"]:
                words = f"{setting} is {json.dumps(after)} instead of the task's {json.dumps(task['changed'][setting])}"
                shared.setdefault(words, []).append(name.removeprefix("lladav_"))
    return [f"{', '.join(tasks)}: {words}" for words, tasks in shared.items()]


def _settings(results: Mapping[str, Any]) -> list[str]:
    """Generation settings, once for all tasks that share them."""
    shared: dict[str, list[str]] = {}
    names = ""
    for task_name, task in results["tasks"].items():
        if settings := task.get("settings"):
            names = "/".join(settings).replace("_length", "")
            shared.setdefault("/".join(map(str, settings.values())), []).append(task_name.removeprefix("lladav_"))
    texts = [values if len(shared) == 1 else f"{values} ({', '.join(tasks)})" for values, tasks in shared.items()]
    return [f"{names} {'; '.join(texts)}"] if texts else []


def _title(results: Mapping[str, Any]) -> str:
    """Everything that must stand beside the figures; runs made before these were recorded say so."""
    git = results.get("code", {}).get("git")
    commit = "no commit" if git is None else f"commit {git['commit'][:10]}" + ("+" if git["dirty"] else "")
    parts = [results["model"], f"protocol {results['protocol']}", commit]
    parts.append(str(results.get("date", "no date")))
    parts += _settings(results)
    modes = dict.fromkeys(task["approximate"] for task in results["tasks"].values() if task.get("approximate"))
    if modes:
        parts.append(f"approximate decoding ({'; '.join(modes)})")
    return printable(", ".join(parts))
