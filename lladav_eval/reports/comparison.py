"""Several runs side by side: quality, paired with the first run on the samples both have, and what it cost.

Unlike a regression this passes no verdict, so runs of other models, settings and sample sets may be compared; what
differs is said. Other protocols or other data are refused: their numbers mean different things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lladav_eval.errors import UsageError
from lladav_eval.reports.comparable import refuse_other_data
from lladav_eval.reports.comparison_notes import what_differs
from lladav_eval.reports.pairing import Observed, check_test, observe, partly, run_facts, with_metric
from lladav_eval.reports.run_data import RunData
from lladav_eval.reports.statistics import (
    Paired,
    Test,
    changes,
    compare_pairs,
    holm,
    ratio_of_means,
)
from lladav_eval.scoring.aggregate import interval
from lladav_eval.scoring.cost import CostCounter, CostSummary


@dataclass(frozen=True)
class Entry:
    """One run on one task, over the samples that all compared runs have."""

    run: int
    """Position in the list of runs; 0 is the one the others are compared with."""
    task: str
    metric: str
    n: int
    score: float
    """100 times the mean of the samples' values (percent of the largest value, where values go beyond 1)."""
    low: float
    """Lower end of the 95 % interval of the score."""
    high: float
    forward_passes: float | None
    """Per answered sample, as ``seconds``; None where the model doesn't tell."""
    seconds: float | None
    samples_per_second: float | None
    """Answered samples by the sum of their shares of time, media decoding excluded; None of an endpoint, as below."""
    tokens_per_second: float | None
    """Answer tokens of those samples; None where the model doesn't tell."""
    failed: int
    approximate: str | None
    """The approximate decoding modes in use; None if decoding was exact."""
    cost: CostSummary


@dataclass(frozen=True)
class CategoryEntry:
    """One run on one category of a task, over the samples that all compared runs have. No test is made of it."""

    run: int
    task: str
    category: str
    n: int
    score: float
    """As in Entry."""
    low: float
    high: float


@dataclass(frozen=True)
class Pair:
    """One run against the first on one task. Differences are on 0-100."""

    run: int
    task: str
    n: int
    """Samples."""
    wins: int
    """Samples with a higher value of their own than in the first run."""
    losses: int
    paired: Paired
    """Of observations, which are samples or clusters of them."""
    difference: float
    low: float
    high: float
    p_corrected: float
    """By Holm over all pairs of the comparison."""
    smallest: float | None
    """The smallest difference on 0-100 that McNemar's test could ever show; None of another test."""


@dataclass(frozen=True)
class Ratio:
    """What one run costs on one task, as a multiple of the first: means over the samples that both answered."""

    run: int
    task: str
    forward_passes: float | None
    """None where one of the two doesn't tell, as below."""
    low: float | None
    """Lower end of the paired bootstrap interval of the ratio of forward passes."""
    high: float | None
    seconds: float | None
    """Without an interval: the samples of a batch share its time, so they are no independent measurements. None between
    a model and an endpoint, whose seconds are latencies."""
    flops: float | None


@dataclass(frozen=True)
class Comparison:
    """The whole comparison."""

    runs: tuple[RunData, ...]
    labels: tuple[str, ...]
    """One distinct name per run."""
    entries: tuple[Entry, ...]
    categories: tuple[CategoryEntry, ...]
    """Empty where no task has two categories at least."""
    pairs: tuple[Pair, ...]
    ratios: tuple[Ratio, ...]
    notes: tuple[str, ...]
    """Where the runs' tasks and sample sets differ."""
    alpha: float

    @property
    def tasks(self) -> list[str]:
        """Tasks that all runs have, in order."""
        return list(dict.fromkeys(entry.task for entry in self.entries))

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "runs": [{"label": name, **run_facts(run)} for name, run in zip(self.labels, self.runs, strict=True)],
            "entries": [{**asdict(entry), "cost": entry.cost.as_json()} for entry in self.entries],
            "categories": [asdict(entry) for entry in self.categories],
            "pairs": [asdict(pair) for pair in self.pairs],
            "ratios": [asdict(ratio) for ratio in self.ratios],
            "notes": list(self.notes),
            "alpha": self.alpha,
        }


def compare_runs(
    runs: Sequence[RunData], metric: str | None = None, test: Test | None = None, alpha: float = 0.05
) -> Comparison:
    """Compare two or more runs; the first is the one that the others are set against.

    Raises UsageError for fewer than two runs, other protocols, other data, or no common samples.
    """
    if len(runs) < 2:
        raise UsageError("compare needs two run directories at least")
    if not 0 < alpha < 1:
        raise UsageError(f"--alpha {alpha}: give a level between 0 and 1, such as 0.05")
    for run in runs[1:]:
        refuse_other_data(runs[0], run)
    common = {task: ids for task in runs[0].tasks if (ids := _common(task, runs))}
    if not common:
        raise UsageError("the runs have no sample in common: compare runs of the same tasks")
    entries: list[Entry] = []
    categories: list[CategoryEntry] = []
    raw: list[tuple[int, str, Observed, Paired]] = []
    kept: dict[str, list[int]] = {}
    parts: list[str] = []
    for task, shared in common.items():
        name = _metric(task, runs, metric)
        ids = kept[task] = with_metric(task, shared, runs, name)
        parts += partly(runs[0].tasks[task].short, name, len(ids), len(shared))
        observed = observe(task, ids, runs, name)
        check_test(test, runs[0].tasks[task].short, observed)
        entries += [_entry(position, task, name, ids, run, observed) for position, run in enumerate(runs)]
        categories += _category_entries(task, ids, runs, observed)
        values = observed.values
        for position in range(1, len(runs)):
            paired = compare_pairs(values[0], values[position], test, alpha, observed.clusters)
            raw.append((position, task, observed, paired))
    corrected = holm([paired.p for *_, paired in raw])
    pairs = tuple(_pair(*item, p, len(raw), alpha) for item, p in zip(raw, corrected, strict=True))
    ratios = tuple(_ratio(position, task, kept[task], runs, alpha) for position, task, *_ in raw)
    return Comparison(
        tuple(runs),
        _labels(runs),
        tuple(entries),
        tuple(categories),
        pairs,
        ratios,
        (*parts, *what_differs(runs, _labels(runs), common)),
        alpha,
    )


def _common(task: str, runs: Sequence[RunData]) -> list[int]:
    """doc_ids of a task that every run has, in order."""
    sets = [{doc_id for name, doc_id in run.samples if name == task} for run in runs]
    return sorted(set.intersection(*sets))


def _metric(task: str, runs: Sequence[RunData], asked: str | None) -> str:
    """The metric to compare. Raises UsageError where none is asked for and the runs' headlines differ."""
    headlines = [run.tasks[task].headline for run in runs]
    if asked is None and len(set(headlines)) > 1:
        shown = ", ".join(f"{run.path} {headline}" for run, headline in zip(runs, headlines, strict=True))
        raise UsageError(
            f"{runs[0].tasks[task].short}: the headline metrics differ ({shown}), as where one run's answers wait for "
            "a judge; choose one with --metric"
        )
    return asked or headlines[0]


def _entry(position: int, task: str, metric: str, ids: Sequence[int], run: RunData, observed: Observed) -> Entry:
    samples, values = [run.samples[task, doc_id] for doc_id in ids], observed.values[position]
    low, high, _ = interval(values, observed.clusters)
    counter = CostCounter()
    for sample in samples:
        if sample.answered:
            counter.add(sample.cost)
    cost = counter.summary()
    seconds = cost.totals.get("seconds") if run.times_are_shares else None
    timed = [sample.cost["output_tokens"] for sample in samples if sample.answered and sample.cost["seconds"]]
    told = [tokens for tokens in timed if tokens is not None]
    return Entry(
        run=position,
        task=task,
        metric=metric,
        n=len(samples),
        score=100 * math.fsum(values) / len(samples),
        low=100 * max(low, 0.0),
        high=100 * min(high, 1.0),
        forward_passes=cost.mean("forward_passes"),
        seconds=cost.mean("seconds"),
        samples_per_second=cost.known["seconds"] / seconds if seconds else None,
        tokens_per_second=math.fsum(told) / seconds if seconds and told and len(told) == len(timed) else None,
        failed=sum(sample.status == "failed" for sample in samples),
        approximate=run.tasks[task].approximate,
        cost=cost,
    )


def _ratio(position: int, task: str, ids: Sequence[int], runs: Sequence[RunData], alpha: float) -> Ratio:
    pairs = [(runs[0].samples[task, doc_id], runs[position].samples[task, doc_id]) for doc_id in ids]
    both = [(first.cost, second.cost) for first, second in pairs if first.answered and second.answered]

    def known(name: str) -> tuple[list[float], list[float]] | None:
        columns = [[cost[name] for cost in side] for side in zip(*both, strict=True)]
        numbers = [[value for value in column if value is not None] for column in columns]
        complete = numbers and all(len(column) == len(both) and sum(column) > 0 for column in numbers)
        return (numbers[0], numbers[1]) if complete else None

    def ratio(name: str) -> float | None:
        columns = known(name)
        return math.fsum(columns[1]) / math.fsum(columns[0]) if columns else None

    passes = known("forward_passes")
    value, low, high = ratio_of_means(*passes, alpha) if passes else (None, None, None)
    seconds = ratio("seconds") if runs[0].times_are_shares == runs[position].times_are_shares else None
    return Ratio(position, task, value, low, high, seconds, ratio("flops"))


def _category_entries(
    task: str, ids: Sequence[int], runs: Sequence[RunData], observed: Observed
) -> list[CategoryEntry]:
    """Scores by category, as the first run that recorded one names it; none where there are fewer than two."""
    members: dict[str, list[int]] = {}
    for index, doc_id in enumerate(ids):
        named = (run.samples[task, doc_id].category for run in runs)
        category = next((name for name in named if name is not None), None)
        if category is not None:
            members.setdefault(category, []).append(index)
    if len(members) < 2:
        return []
    entries = []
    for category, indices in sorted(members.items()):
        for position in range(len(runs)):
            chosen = [observed.own[position][index] for index in indices]
            low, high, _ = interval(chosen, [observed.clusters[index] for index in indices])
            score = 100 * math.fsum(chosen) / len(chosen)
            entries.append(CategoryEntry(position, task, category, len(chosen), score, 100 * low, 100 * high))
    return entries


def _pair(run: int, task: str, observed: Observed, paired: Paired, p: float, tests: int, alpha: float) -> Pair:
    return Pair(
        run, task, len(observed.clusters), *changes(observed.own[0], observed.own[run]), paired,
        100 * paired.difference, 100 * paired.low, 100 * paired.high, p, paired.smallest(alpha, tests),
    )  # fmt: skip


def _labels(runs: Sequence[RunData]) -> tuple[str, ...]:
    """Model names; with the run's name, and a number if need be, where that is not enough to tell them apart."""
    names = [run.model for run in runs]
    if len(set(names)) < len(names):
        names = [f"{run.model} ({run.label})" for run in runs]
    if len(set(names)) < len(names):
        names = [f"{name} #{position}" for position, name in enumerate(names, start=1)]
    return tuple(names)
