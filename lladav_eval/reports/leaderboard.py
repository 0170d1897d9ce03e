"""Our runs and the published scores in one table. One line per model, protocol and source; nothing is merged.

A score on a part of a split (``--limit``), or with other settings than the task's, is told as such. It takes neither a
best mark nor a difference to the paper: three questions of thousands say nothing about either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lladav_eval.reports.reference import OUR_PROTOCOLS, Reference
from lladav_eval.reports.run_data import OWN_RULE, RunData, Task, of_part

GROUPS = ("autoregressive", "diffusion", "hybrid", "unstated")
PAPER = ("LLaDA-V", "arXiv:2505.16933v2 Tables 2-3")
"""The line that differences are taken to."""
SECTIONS: dict[str, tuple[str, ...]] = {
    "Knowledge and general perception": (
        "mmmu", "mmmu_pro_standard", "mmmu_pro_vision", "mmstar", "mme", "mme perception", "mme cognition",
        "seedbench_image", "mmbench", "pope", "pope f1",
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
_PARTS = {
    "mme": {"mme perception": "perception", "mme cognition": "cognition"},
    "pope": {"pope": "accuracy"},
}
"""Columns of a benchmark that show other figures of it than its headline; published numbers of POPE are accuracies."""
_HEADLINES = {"pope": "pope f1"}
"""Columns of headlines that are not what a benchmark's published numbers are."""
_BY_THE_AUTHORS = {"docvqa": "anls_authors", "infovqa": "anls_authors"}
"""Figures that the paper's own numbers are, where they aren't the benchmark's official ones (docs/scores.md)."""
MEMBERS = {"mathverse": 3, "mvbench": 20}
"""Benchmarks whose one number is the mean of so many tasks, whose names begin with the benchmark's."""


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
    changed: bool = False
    """Whether it was run with other settings than the task's."""
    compared: float | None = None
    """The figure to take the paper's from, where it isn't ``value``."""

    @property
    def partial(self) -> bool:
        """Whether only a part of the split was asked."""
        return self.n is not None and self.rows is not None and self.n < self.rows

    @property
    def competes(self) -> bool:
        """Whether it may be the best of its column, and differ from the paper."""
        return not self.partial and not self.changed


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
        column = (f"{item.benchmark} {item.metric}" if parts else item.benchmark) + item.approximate * _SUFFIX
        entries[identity].cells[column] = Cell(item.shown, item.printed, item.metric, note=item.note)
    return list(entries.values())


def _run_entries(run: RunData, known: set[str]) -> list[Entry]:
    """One line; or one per protocol, where a run was scored under both; and one of tasks with a rule of their own."""
    tasks = [task for task in run.tasks.values() if task.ours]
    both = any(protocol in task.metrics for task in tasks for protocol in OUR_PROTOCOLS)
    entries = []
    for protocol in OUR_PROTOCOLS if both else (run.protocol,):
        entry = _entry(run, protocol)
        for task in tasks:
            headline = protocol if protocol in task.metrics else task.headline
            if headline in OUR_PROTOCOLS and headline != protocol:
                continue
            if headline != protocol and run.protocol != protocol:
                continue
            entry.cells |= _task_cells(task, headline, known)
        entry.cells |= _group_cells(entry.cells)
        entries.append(entry)
    own = _entry(run, OWN_RULE)
    for task in run.tasks.values():
        if not task.ours:
            own.cells |= _task_cells(task, task.headline, known)
    return [entry for entry in (*entries, own) if entry.cells]


def _entry(run: RunData, protocol: str) -> Entry:
    return Entry(run.model, run.kind, protocol, f"run {run.label}", "ours", run.version, run.date)


def _task_cells(task: Task, headline: str, known: set[str]) -> dict[str, Cell]:
    """The headline of a task by its column, and what else of it has a column."""
    suffix = _SUFFIX if task.approximate else ""
    ours = headline in OUR_PROTOCOLS
    metric, figures = task.metrics[headline], task.figures.get(headline, {})
    cells = {
        (_HEADLINES.get(task.column, task.column) if ours else task.column) + suffix: _run_cell(
            task, headline, metric.value, (metric.low, metric.high), figures.get(_BY_THE_AUTHORS.get(task.column, ""))
        )
    }
    for column, name in _PARTS.get(task.column, {}).items():
        if name in figures:
            cells[column + suffix] = _run_cell(task, name, figures[name])
    for name, other in task.metrics.items():
        if name != headline and f"{task.column} {name}" in known:
            cells[f"{task.column} {name}{suffix}"] = _run_cell(task, name, other.value, (other.low, other.high))
    return cells


def _run_cell(
    task: Task,
    metric: str,
    value: float,
    interval: tuple[float | None, float | None] = (None, None),
    compared: float | None = None,
) -> Cell:
    part = f"partial: the first {task.n} of {task.rows} rows" if task.n < task.rows else ""
    n = task.metrics[metric].n if metric in task.metrics else task.n
    failed = f"{task.failed} of {task.n} samples failed" if task.failed else ""
    mode = f"approximate decoding ({task.approximate})" if task.approximate else ""
    authors = "" if compared is None else f"to paper by {_BY_THE_AUTHORS[task.short]}, {compared:.1f}"
    note = "; ".join(filter(None, (part, of_part(n, task.n), task.changes(), mode, failed, authors)))
    changed = bool(task.changed)
    return Cell(value, f"{value:.1f}", metric, n, task.rows, *interval, note=note, changed=changed, compared=compared)


def _group_cells(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """The one number of a benchmark that is several tasks, where a run has them all."""
    found = {}
    for column, count in MEMBERS.items():
        for suffix in ("", _SUFFIX):
            names = [name for name in cells if name.startswith(f"{column}_") and name.endswith(_SUFFIX) == bool(suffix)]
            members = [cells[name] for name in names]
            if len(members) == count:
                value = sum(cell.value or 0.0 for cell in members) / count
                notes = [f"mean of {count} tasks", *dict.fromkeys(cell.note for cell in members if cell.note)]
                found[column + suffix] = Cell(
                    value, f"{value:.1f}", members[0].metric, sum(cell.n or 0 for cell in members),
                    sum(cell.rows or 0 for cell in members), note="; ".join(notes),
                    changed=any(cell.changed for cell in members),
                )  # fmt: skip
    return found


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
    """Mark the best of a column and fill in the differences. ``strict`` is our own rule: it has a best of its own."""
    for strict in (False, True):
        whole = {
            index: cell
            for index, entry in enumerate(entries)
            if (cell := entry.cells.get(column)) and cell.competes and (entry.protocol == "strict") == strict
        }
        values = [cell.value for cell in whole.values() if cell.value is not None]
        best = max(values, default=None)
        for index, cell in whole.items():
            if cell.value is None:
                continue
            base = column.removesuffix(_SUFFIX)
            compared = cell.value if cell.compared is None else cell.compared
            delta = round(compared - paper[base], 4) if base in paper else None
            entries[index].cells[column] = replace(cell, delta=delta, best=len(values) > 1 and cell.value == best)


def _sections(entries: Sequence[Entry]) -> dict[str, tuple[str, ...]]:
    present = {column for entry in entries for column, cell in entry.cells.items() if cell.value is not None}
    sections = {title: tuple(c for c in columns if c in present) for title, columns in SECTIONS.items()}
    placed = {column for columns in sections.values() for column in columns}
    sections[OTHERS] = tuple(sorted(c for c in present - placed if not c.endswith(_SUFFIX)))
    sections[APPROXIMATE] = tuple(sorted(c for c in present if c.endswith(_SUFFIX)))
    return {title: columns for title, columns in sections.items() if columns}
