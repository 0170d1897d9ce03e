"""Quality against cost as pictures: one panel per task, one point per run, PNG and SVG."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lladav_eval.errors import UsageError
from lladav_eval.reports.comparison import Comparison
from lladav_eval.reports.escape import printable, shorten

AXES = {"seconds": "seconds per sample", "forward_passes": "forward passes per sample"}
_MARKERS = "osD^vP*X<>hp"
_WIDTH = 3.6
_COLUMNS = 3


def plot_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write score against seconds and against forward passes; gives the files. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [path for axis in AXES for path in _plot(comparison, axis, folder)]
    except OSError as error:
        raise UsageError(f"{folder} can't be written ({error.strerror}): choose another folder with --out") from error


def _plot(comparison: Comparison, axis: str, folder: Path) -> list[Path]:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = comparison.tasks
    columns = min(_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    paths = []
    # A fixed salt and no date: the same runs give the same bytes.
    with rc_context({"svg.hashsalt": "lladav_eval", "svg.fonttype": "none"}):
        figure = Figure(figsize=(_WIDTH * columns, 3.2 * rows + 0.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for panel, task in zip(panels, tasks, strict=False):
            _panel(panel, comparison, task, axis)
        for panel in panels[len(tasks) :]:
            panel.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
        figure.suptitle(_facts(comparison), fontsize=7, x=0.01, ha="left", parse_math=False)
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            path = folder / f"score_against_{axis}.{kind}"
            figure.savefig(path, dpi=150, metadata=metadata)
            paths.append(path)
    return paths


def _facts(comparison: Comparison) -> str:
    """What must stand beside the numbers: one line per run."""
    pairs = zip(comparison.labels, comparison.runs, strict=True)
    lines = [f"{shorten(label, 40)}: protocol {run.protocol}, commit {run.version}, {run.date}" for label, run in pairs]
    return "\n".join(map(printable, lines))


def _panel(panel: Any, comparison: Comparison, task: str, axis: str) -> None:
    """One task: each run's score with its interval at its cost."""
    for entry in comparison.entries:
        if entry.task != task or getattr(entry, axis) is None:
            continue
        panel.errorbar(
            getattr(entry, axis),
            entry.score,
            yerr=[[entry.score - entry.low], [entry.high - entry.score]],
            fmt=_MARKERS[entry.run % len(_MARKERS)],
            color=f"C{entry.run % 10}",
            capsize=3,
            label=shorten(printable(comparison.labels[entry.run]), 40).lstrip("_"),
        )
    n = next(entry.n for entry in comparison.entries if entry.task == task)
    panel.set_title(f"{shorten(printable(task.removeprefix('lladav_')), 36)} (n = {n})", fontsize=10, parse_math=False)
    panel.set_xlabel(AXES[axis])
    panel.set_ylabel("score, 95 % interval")
    panel.set_xlim(left=0)
    panel.grid(alpha=0.3)
