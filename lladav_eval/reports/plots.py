"""Quality against cost as pictures: one panel per task, PNG and SVG; runs of a comparison, or points of a sweep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lladav_eval.errors import UsageError
from lladav_eval.reports.comparison import Comparison
from lladav_eval.reports.escape import printable, shorten
from lladav_eval.reports.sweep import COSTS, Cost, Row, Sweep, decoding
from lladav_eval.reports.sweep_text import facts_lines

AXES: dict[Cost, str] = {
    "seconds": "seconds per answered sample",
    "forward_passes": "forward passes per answered sample",
}
_MARKERS = "osD^vP*X<>hp"
_WIDTH = 3.6
_COLUMNS = 3
_STYLES: dict[str, dict[str, Any]] = {
    "exact": {"color": "C0", "marker": "o", "linestyle": "-", "size": 8},  # larger, so that both show where they meet
    "approximate": {"color": "C1", "marker": "s", "linestyle": "--", "size": 4.5},
}
Draw = Callable[[Any, str, Cost], None]
"""(panel, task, cost) -> draws one task."""


def plot_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write score against seconds and against forward passes; gives the files. Raises UsageError."""

    def draw(panel: Any, task: str, cost: Cost) -> None:
        _draw_runs(panel, comparison, task, cost)

    return _plot_all("score", comparison.tasks, draw, _facts(comparison), folder)


def plot_sweep(sweep: Sweep, folder: Path) -> list[Path]:
    """Write accuracy against seconds and against forward passes, Pareto fronts as lines; gives the files.

    Points of a front are named by steps/block length. The baseline is a level line with its interval, and a cross at
    its own cost. Raises UsageError.
    """

    def draw(panel: Any, task: str, cost: Cost) -> None:
        _draw_points(panel, sweep, task, cost)

    facts = [*facts_lines(sweep), "beside the points of a front: steps/block length (+1: one more point there)"]
    return _plot_all("accuracy", sweep.tasks, draw, "\n".join(map(printable, facts)), folder)


def _plot_all(quality: str, tasks: Sequence[str], draw: Draw, facts: str, folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [path for cost in COSTS for path in _plot(quality, tasks, cost, draw, facts, folder)]
    except OSError as error:
        raise UsageError(f"{folder} can't be written ({error.strerror}): choose another folder with --out") from error


def _plot(quality: str, tasks: Sequence[str], cost: Cost, draw: Draw, facts: str, folder: Path) -> list[Path]:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    paths = []
    # A fixed salt and no date: the same runs give the same bytes.
    with rc_context({"svg.hashsalt": "lladav_eval", "svg.fonttype": "none"}):
        width = max(_WIDTH * columns, 6.4)
        figure = Figure(figsize=(width, 3.2 * rows + 0.9), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for panel, task in zip(panels, tasks, strict=False):
            draw(panel, task, cost)
            panel.set_xlabel(AXES[cost])
            panel.set_ylabel(f"{quality}, 95 % interval")
            panel.margins(x=0.2)
            panel.set_xlim(left=0)
            panel.locator_params(axis="x", nbins=5)
            panel.grid(alpha=0.3)
        for panel in panels[len(tasks) :]:
            panel.set_axis_off()
        found: dict[str, Any] = {}
        for panel in panels:
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                found.setdefault(label, handle)
        legend = figure.legend(
            list(found.values()), list(found), loc="outside lower center", ncols=min(int(width // 2.6), len(found)),
            frameon=False, fontsize=8,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
        figure.suptitle(facts, fontsize=7, x=0.01, ha="left", parse_math=False)
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            path = folder / f"{quality}_against_{cost}.{kind}"
            figure.savefig(path, dpi=150, metadata=metadata)
            paths.append(path)
    return paths


def _facts(comparison: Comparison) -> str:
    """What must stand beside the numbers: one line per run."""
    pairs = zip(comparison.labels, comparison.runs, strict=True)
    lines = [
        f"{shorten(label, 40)}: protocol {run.protocol}, commit {run.version}, {run.date}"
        + (f", approximate decoding ({shorten(run.approximate, 60)}, hollow)" if run.approximate else "")
        for label, run in pairs
    ]
    return "\n".join(map(printable, lines))


def _title(panel: Any, task: str, n: str) -> None:
    panel.set_title(f"{shorten(printable(task.removeprefix('lladav_')), 36)} (n = {n})", fontsize=10, parse_math=False)


def _draw_runs(panel: Any, comparison: Comparison, task: str, cost: Cost) -> None:
    """One task of a comparison: each run's score with its interval at its cost; hollow where it is approximate.

    A run whose cost isn't known, as where all its samples failed, is a level line.
    """
    for entry in comparison.entries:
        if entry.task != task:
            continue
        own, colour, label = getattr(entry, cost), f"C{entry.run % 10}", comparison.labels[entry.run]
        label = shorten(printable(label), 40).lstrip("_")
        if own is None:
            panel.axhline(entry.score, color=colour, linewidth=1, linestyle=":")
            panel.axhspan(entry.low, entry.high, color=colour, alpha=0.12, linewidth=0)
        approximate = comparison.runs[entry.run].tasks[task].approximate is not None
        panel.errorbar(
            [] if own is None else [own],
            [] if own is None else [entry.score],
            yerr=None if own is None else _reach(entry.score, entry.low, entry.high),
            fmt=_MARKERS[entry.run % len(_MARKERS)],
            color=colour,
            markerfacecolor="none" if approximate else None,
            capsize=3,
            label=label,
        )
        if entry.failed:
            panel.annotate(
                f"{entry.failed} failed", (0 if own is None else own, entry.score), xytext=(4, 4),
                textcoords="offset points", fontsize=6.5, color=colour,
            )  # fmt: skip
    _title(panel, task, next(str(entry.n) for entry in comparison.entries if entry.task == task))


def _draw_points(panel: Any, sweep: Sweep, task: str, cost: Cost) -> None:
    """One task of a sweep: points with their intervals, a line through each kind's Pareto front, the baseline."""
    for kind, style in _STYLES.items():
        rows = [row for row in sweep.rows if row.task == task and decoding(row) == kind]
        rows = [row for row in rows if getattr(row, cost) is not None]
        for row in rows:
            on_front = cost in row.front
            panel.errorbar(
                getattr(row, cost), row.value, yerr=_error(row), fmt=style["marker"], color=style["color"],
                markerfacecolor=style["color"] if on_front else "none", capsize=2, elinewidth=0.8,
                markersize=style["size"], alpha=1 if on_front else 0.45,
                label=f"{kind}, filled: Pareto front" if on_front else None,
            )  # fmt: skip
        front = sorted((row for row in rows if cost in row.front), key=lambda row: (getattr(row, cost), row.value))
        panel.step(
            [getattr(row, cost) for row in front], [row.value for row in front], where="post", linewidth=1.2,
            color=style["color"], linestyle=style["linestyle"],
        )  # fmt: skip
        _name_points(panel, front, cost, style)
    for row in sweep.baseline:
        if row.task == task:
            label = f"baseline {shorten(printable(row.model), 40)}"
            panel.axhline(row.value, color="0.35", linewidth=1, linestyle=":")
            if row.low is not None and row.high is not None:
                panel.axhspan(row.low, row.high, color="0.5", alpha=0.12, linewidth=0)
            own = getattr(row, cost)
            places = ([], []) if own is None else ([own], [row.value])  # the line alone where its cost isn't known
            panel.plot(*places, "X", color="0.35", linestyle=":", label=label)
    _title(panel, task, max((row.n, row.asked) for row in (*sweep.rows, *sweep.baseline) if row.task == task)[1])


def _name_points(panel: Any, front: Sequence[Row], cost: Cost, style: dict[str, Any]) -> None:
    """Steps and block length beside the points of a front, exact ones above and the others below; equal ones once."""
    names: dict[tuple[float, float], list[str]] = {}
    for row in front:
        mode = "" if row.approximate is None else f" {row.approximate.removeprefix('cache=').split(':')[0]}"
        names.setdefault((getattr(row, cost), row.value), []).append(f"{row.steps}/{row.block_length}{mode}")
    above = style["marker"] == "o"
    for place, texts in names.items():
        more = f" +{len(texts) - 1}" if len(texts) > 1 else ""
        panel.annotate(
            printable(texts[0] + more), place, xytext=(4, 4 if above else -9), textcoords="offset points", fontsize=6.5,
            color=style["color"], parse_math=False,
        )  # fmt: skip


def _error(row: Row) -> list[list[float]] | None:
    if row.low is None or row.high is None:
        return None
    return _reach(row.value, row.low, row.high)


def _reach(value: float, low: float, high: float) -> list[list[float]]:
    """Down and up from a value to the ends of its interval; runs of earlier versions miss an end by a last bit."""
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
