"""The leaderboard as Markdown, CSV, LaTeX, HTML and JSON, and runs as the results block of a model card."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from lladav_eval.errors import UsageError
from lladav_eval.reports.escape import csv_cell, escape_html, escape_latex, escape_markdown
from lladav_eval.reports.leaderboard import GROUPS, Cell, Entry, Leaderboard
from lladav_eval.reports.run_data import RunData, Task, plain, protocol_of

Escape = Callable[[str], str]
_ABOUT = (
    "Scores on 0-100, but for MME's points. One line per model, protocol and source: numbers of different protocols "
    "are not comparable, and nothing is merged. The best number of each column is marked, and apart from it the best "
    "by our strict protocol. For our own runs: 95 % interval, n, and the difference to the LLaDA-V of the paper. The "
    "sources and the remarks stand below."
)
_TITLES = {
    "autoregressive": "Autoregressive",
    "diffusion": "Diffusion",
    "hybrid": "Hybrid",
    "unstated": "Kind not stated",
}


def records(board: Leaderboard) -> list[dict[str, Any]]:
    """One mapping per number, each with everything that must stand beside it."""
    return [
        {
            "kind": entry.kind, "model": entry.model, "column": column, "metric": cell.metric, "value": cell.value,
            "best": cell.best, "n": cell.n, "rows": cell.rows, "partial": cell.partial,
            "low": cell.low, "high": cell.high, "delta_to_paper": cell.delta, "settings_changed": cell.changed,
            "protocol": entry.protocol, "source": entry.source, "confidence": entry.confidence,
            "commit": entry.commit, "date": entry.date, "note": cell.note,
        }
        for entry in board.entries
        for column, cell in entry.cells.items()
    ]  # fmt: skip


def as_json(board: Leaderboard) -> str:
    """A list of all numbers."""
    return json.dumps({"scores": records(board)}, indent=2, allow_nan=False) + "\n"


def as_csv(board: Leaderboard) -> str:
    """One line per number."""
    rows = records(board)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["kind"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: csv_cell(value) if isinstance(value, str) else value for name, value in row.items()})
    return file.getvalue()


def as_markdown(board: Leaderboard) -> str:
    """A document with one table per section of columns."""
    sources = _sources(board)
    lines = ["# Leaderboard", "", _ABOUT]
    for section in board.sections:
        header, body = _table(board, section, sources, escape_markdown, lambda text: f"**{text}**")
        lines += ["", f"## {section}", "", _pipe_table(header, body)]
    lines += ["", "## Sources", ""]
    lines += [f"{number}. {escape_markdown(text)}" for text, number in sources.items()]
    lines += ["", "## Remarks", ""]
    lines += [f"- {escape_markdown(remark)}" for remark in _remarks(board, sources)]
    return "\n".join(lines) + "\n"


def _pipe_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    alignment = ["left"] * 3 + ["right"] * (len(header) - 3)
    return tabulate(body, header, tablefmt="pipe", colalign=alignment, disable_numparse=True)


def as_latex(board: Leaderboard) -> str:
    """One booktabs table per section, made smaller where it is wider than the page."""
    import pandas

    sources = _sources(board)
    parts = [f"% {escape_latex(_ABOUT)}", r"% needs \usepackage{booktabs,graphicx}"]
    fits = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
    for section, columns in board.sections.items():
        header, body = _table(board, section, sources, escape_latex, lambda text: rf"\textbf{{{text}}}")
        frame = pandas.DataFrame(body, columns=header)
        layout = "lll" + "r" * len(columns)
        caption = escape_latex(section)
        table = frame.to_latex(index=False, escape=False, column_format=layout, caption=caption).rstrip()
        begin, end = r"\begin{tabular}", r"\end{tabular}"  # no cell has these: backslashes are escaped
        parts.append(table.replace(begin, fits + begin).replace(end, end + "}"))
    parts.append(r"\begin{enumerate}")
    parts += [rf"\item {escape_latex(text)}" for text in sources]
    parts.append(r"\end{enumerate}")
    remarks = [rf"\item {escape_latex(remark)}" for remark in _remarks(board, sources)]
    if remarks:
        parts += [r"\begin{itemize}", *remarks, r"\end{itemize}"]
    return "\n".join(parts) + "\n"


def as_html(board: Leaderboard) -> str:
    """One page that needs nothing else."""
    import pandas

    sources = _sources(board)
    parts = ["<h1>Leaderboard</h1>", f"<p>{escape_html(_ABOUT)}</p>"]
    for section in board.sections:
        header, body = _table(board, section, sources, escape_html, lambda text: f"<strong>{text}</strong>")
        with pandas.option_context("display.max_colwidth", None):  # the default cuts cells off
            table = pandas.DataFrame(body, columns=header).to_html(index=False, escape=False, border=0, justify="left")
        parts += [f"<h2>{escape_html(section)}</h2>", f'<div class="scroll">{table}</div>']
    items = "".join(f"<li>{escape_html(text)}</li>" for text in sources)
    remarks = "".join(f"<li>{escape_html(remark)}</li>" for remark in _remarks(board, sources))
    parts += ["<h2>Sources</h2>", f"<ol>{items}</ol>", "<h2>Remarks</h2>", f"<ul>{remarks}</ul>"]
    return _PAGE.replace("BODY", "\n".join(parts))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Leaderboard</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #8884; white-space: nowrap; }
</style>
</head>
<body>
BODY
</body>
</html>
"""


def _table(
    board: Leaderboard, section: str, sources: dict[str, int], escape: Escape, bold: Escape
) -> tuple[list[str], list[list[str]]]:
    """Header and body of one section, escaped; a line with the group's title stands before each group."""
    columns = board.sections[section]
    header = [escape(title) for title in ("model", "protocol", "source", *columns)]
    body: list[list[str]] = []
    for kind in GROUPS:
        entries = board.of_section(section, kind)
        if entries:
            body.append([bold(escape(_TITLES[kind])), *[""] * (len(header) - 1)])
        for entry in entries:
            figures = [_figure(entry.cells.get(column), escape, bold) for column in columns]
            body.append([escape(entry.model), escape(entry.protocol), str(sources[_source(entry)]), *figures])
    return header, body


def _figure(cell: Cell | None, escape: Escape, bold: Escape) -> str:
    if cell is None or cell.value is None:
        return "–"
    number = escape(cell.printed)
    text = bold(number) if cell.best else number
    if cell.n is None:
        return text
    interval = "" if cell.low is None or cell.high is None else f"{cell.low:.1f} to {cell.high:.1f}; "
    delta = "" if cell.delta is None else f"; {cell.delta:+.1f} to paper"
    part = f" of {cell.rows}, partial" if cell.partial else ""
    return f"{text} {escape(f'({interval}n = {cell.n}{part}{delta})')}"


def _source(entry: Entry) -> str:
    if entry.ours:
        return f"{entry.source}, commit {entry.commit}, {entry.date}"
    return entry.source + (" (second-hand)" if entry.confidence == "2nd" else "")


def _sources(board: Leaderboard) -> dict[str, int]:
    """Sources in the order of the lines, numbered from 1."""
    return {text: number for number, text in enumerate(dict.fromkeys(map(_source, board.entries)), start=1)}


def _remarks(board: Leaderboard, sources: dict[str, int]) -> list[str]:
    return [
        f"{entry.model}, {column} {cell.printed or 'without a number'}, source {sources[_source(entry)]}: {cell.note}"
        for entry in board.entries
        for column, cell in entry.cells.items()
        if cell.note
    ]


def as_card(runs: Sequence[RunData]) -> str:
    """The ``model-index`` block of a Hugging Face model card, as the YAML front matter holds it. One model only."""
    import yaml
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    names = sorted({run.model for run in runs})
    if len(names) != 1:
        raise UsageError(f"--format card is for the runs of one model; given: {', '.join(names) or 'no run'}")
    results = [
        EvalResult(
            task_type="image-text-to-text",
            dataset_type=task.dataset_path,
            dataset_name=task.column,
            dataset_config=task.dataset_name,
            dataset_split=task.split,
            dataset_revision=task.data_revision,
            metric_type=metric,
            metric_name=f"{task.column} {metric}{_mark(task)}",
            metric_value=round(found.value, 4),
            metric_args={
                "n": task.n, "rows": task.rows, "failed": task.failed,
                "interval_95": None if found.low is None else
                [round(found.low, 4), round(found.high or 0.0, 4)], "protocol": protocol_of(metric, task, run),
                "commit": run.version, "date": run.date, "approximate": task.approximate,
                "settings": {name: plain(value) for name, value in task.settings.items()},
            },
        )
        for run in runs
        for task in run.tasks.values()
        for metric, found in task.metrics.items()
    ]  # fmt: skip
    index = {"model-index": eval_results_to_model_index(names[0], results)}
    text: str = yaml.safe_dump(index, sort_keys=False, allow_unicode=False)
    return text


def _mark(task: Task) -> str:
    """What a reader of a metric's name alone must know."""
    part = f" (partial: the first {task.n} of {task.rows} rows)" if task.n < task.rows else ""
    own = "".join(f" ({name} {task.settings.get(name)})" for name in task.changed)
    return part + own + (" (approximate decoding)" if task.approximate else "")


FORMATS: dict[str, Callable[[Leaderboard], str]] = {
    "md": as_markdown, "csv": as_csv, "tex": as_latex, "html": as_html, "json": as_json,
}  # fmt: skip
