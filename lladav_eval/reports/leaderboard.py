"""Our runs and the published scores in one table. One line per model, protocol and source; nothing is merged.

A score on a part of a split (``--limit``) is told as partial. It takes neither a best mark nor a difference to the
paper: three questions of thousands say nothing about either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lladav_eval.reports.load import RunData, Task
from lladav_eval.reports.reference import OUR_PROTOCOLS, Reference

GROUPS = ("autoregressive", "diffusion", "hybrid", "unstated")
PAPER = ("LLaDA-V", "arXiv:2505.16933v2 Tables 2-3")
"""The line that differences are taken to."""
SECTIONS: dict[str, tuple[str, ...]] = {
    "Knowledge and general perception": (
        "mmmu", "mmmu_pro_standard", "mmmu_pro_vision", "mmstar", "mme", "mme perception", "mme cognition",
        "seedbench_image", "mmbench", "pope",
    ),
    "Mathematics, charts, documents": (
        "mathverse", "mathvista", "ai2d", "chartqa", "docvqa", "infovqa", "ocrbench",
    ),
    "Real world, several images, video": (
        "realworldqa", "seedbench_video", "muirbench", "mlvu", "videomme", "mvbench",
    ),
}  # fmt: skip
OTHERS = "Other benchmarks"
APPROXIMATE = "Approximate decoding"
_SUFFIX = " (approximate)"
"""Scores of approximate decoding stand in columns of their own, apart from every exact one."""


@dataclass(frozen=True)
class Cell:
    """One number."""

    value: float | None
    printed: str
    """As a reader sees it: the source's own digits, or one decimal of ours."""
    metric: str
    n: int | None = None
    rows: int | None = None
    """Of the whole split; more than n where the run was asked for its first n only. None where n is."""
    low: float | None = None
    high: float | None = None
    delta: float | None = None
    """Minus the paper's LLaDA-V; None where that has no number, or the score is partial."""
    best: bool = False
    note: str = ""

    @property
    def partial(self) -> bool:
        """Whether only a part of the split was asked."""
        return self.n is not None and self.rows is not None and self.n < self.rows


@dataclass
class Entry:
    """One line: a model under one protocol, from one source."""

    model: str
    kind: str
    protocol: str
    source: str
    confidence: str
    """``ours``, ``F`` (read in the source) or ``2nd`` (second-hand)."""
    commit: str = ""
    date: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it is a run of this program."""
        return self.confidence == "ours"


@dataclass(frozen=True)
class Leaderboard:
    """Lines in the order shown, and the sections of columns that have numbers."""

    entries: tuple[Entry, ...]
    sections: dict[str, tuple[str, ...]]

    def of_section(self, section: str, kind: str) -> list[Entry]:
        """The lines of a group that have a number in a section."""
        columns = self.sections[section]
        return [entry for entry in self.entries if entry.kind == kind and any(c in entry.cells for c in columns)]


def build(runs: Sequence[RunData], references: Iterable[Reference]) -> Leaderboard:
    """Put everything together: columns, differences to the paper, the best of each column."""
    entries = _reference_entries(references)
    known = {column for entry in entries for column in entry.cells}
    entries += [entry for run in runs for entry in _run_entries(run, known)]
    paper = _paper_values(entries)
    for column in {column for entry in entries for column in entry.cells}:
        _finish(column, entries, paper)
    entries.sort(key=_place)
    return Leaderboard(tuple(entries), _sections(entries))


def _place(entry: Entry) -> tuple[int, bool, bool, bool]:
    """By group; ours first, then the paper's LLaDA-V, what others say of it, and the other models as listed."""
    named = entry.model == PAPER[0]
    return GROUPS.index(entry.kind), not entry.ours, (entry.model, entry.source) != PAPER, not named


def _reference_entries(references: Iterable[Reference]) -> list[Entry]:
    entries: dict[tuple[str, str, str], Entry] = {}
    for item in references:
        identity = (item.model, item.protocol, item.source)
        if identity not in entries:
            entries[identity] = Entry(item.model, item.kind, item.protocol, item.source, item.confidence)
        parts = item.benchmark == "mme" and item.metric != "total"
        column = f"{item.benchmark} {item.metric}" if parts else item.benchmark
        entries[identity].cells[column] = Cell(item.shown, item.printed, item.metric, note=item.note)
    return list(entries.values())


def _run_entries(run: RunData, known: set[str]) -> list[Entry]:
    """One line; or one per protocol, where a run was scored under both."""
    both = any(protocol in task.metrics for task in run.tasks.values() for protocol in OUR_PROTOCOLS)
    entries = []
    for protocol in OUR_PROTOCOLS if both else (run.protocol,):
        entry = Entry(run.model, run.kind, protocol, f"run {run.label}", "ours", run.version, run.date)
        for task in run.tasks.values():
            headline = protocol if protocol in task.metrics else task.headline
            if headline in OUR_PROTOCOLS and headline != protocol:
                continue
            if both and headline != protocol and run.protocol != protocol:
                continue
            suffix = _SUFFIX if task.approximate else ""
            entry.cells[task.short + suffix] = _run_cell(task, headline)
            for metric in task.metrics:
                if metric != headline and f"{task.short} {metric}" in known:
                    entry.cells[f"{task.short} {metric}{suffix}"] = _run_cell(task, metric)
        if entry.cells:
            entries.append(entry)
    return entries


def _run_cell(task: Task, metric: str) -> Cell:
    found = task.metrics[metric]
    part = f"partial: the first {task.n} of {task.rows} rows" if task.n < task.rows else ""
    failed = f"{task.failed} of {task.n} samples failed" if task.failed else ""
    mode = f"approximate decoding ({task.approximate})" if task.approximate else ""
    note = "; ".join(filter(None, (part, mode, failed)))
    return Cell(found.value, f"{found.value:.1f}", metric, task.n, task.rows, found.low, found.high, note=note)


def _paper_values(entries: Sequence[Entry]) -> dict[str, float]:
    """The paper's LLaDA-V by column; MME's total is the sum of its printed parts."""
    values = {
        column: cell.value
        for entry in entries
        if (entry.model, entry.source) == PAPER
        for column, cell in entry.cells.items()
        if cell.value is not None
    }
    if {"mme perception", "mme cognition"} <= values.keys():
        values.setdefault("mme", values["mme perception"] + values["mme cognition"])
    return values


def _finish(column: str, entries: Sequence[Entry], paper: dict[str, float]) -> None:
    """Mark the best of a column and fill in the differences."""
    whole = [entry for entry in entries if (cell := entry.cells.get(column)) and not cell.partial]
    values = [value for entry in whole if (value := entry.cells[column].value) is not None]
    best = max(values, default=None)
    for entry in whole:
        cell = entry.cells[column]
        if cell.value is None:
            continue
        base = column.removesuffix(_SUFFIX)
        delta = round(cell.value - paper[base], 4) if base in paper else None
        entry.cells[column] = replace(cell, delta=delta, best=len(values) > 1 and cell.value == best)


def _sections(entries: Sequence[Entry]) -> dict[str, tuple[str, ...]]:
    present = {column for entry in entries for column, cell in entry.cells.items() if cell.value is not None}
    sections = {title: tuple(c for c in columns if c in present) for title, columns in SECTIONS.items()}
    placed = {column for columns in sections.values() for column in columns}
    sections[OTHERS] = tuple(sorted(c for c in present - placed if not c.endswith(_SUFFIX)))
    sections[APPROXIMATE] = tuple(sorted(c for c in present if c.endswith(_SUFFIX)))
    return {title: columns for title, columns in sections.items() if columns}
