"""Is the candidate worse than the baseline? Paired on the same samples; what can't be paired is never passed over.

Verdicts, for everything together, each task and each category:

``worse``           the difference is significant and the drop is larger than the tolerance
``better``          the gain is significant and may be larger than the tolerance, which is for losses
``same``            no sample changed, or the interval of the difference stays within the tolerance (or SAME_WITHIN)
``can't tell``      none of these: n is too small for what changed
``not comparable``  other data, protocol or samples; nothing is computed

Holm's method corrects the tests of all tasks, and apart from them those of all categories. Categories inform: whether
the candidate is worse is decided by everything together and the tasks.

A drop of exactly the tolerance is within it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lladav_eval.errors import UsageError
from lladav_eval.reports.comparable import incomparable, other_media
from lladav_eval.reports.pairing import Group, Scope, groups, partly, run_facts
from lladav_eval.reports.reference import OUR_PROTOCOLS
from lladav_eval.reports.run_data import RunData
from lladav_eval.reports.statistics import Paired, Test, changes, compare_pairs, holm

Verdict = Literal["better", "same", "can't tell", "worse", "not comparable"]
SAME_WITHIN = 1.0
"""Points on 0-100: a difference whose whole interval is smaller counts as none, unless it is significant."""
_FEWEST = 20
"""Observations from which on an interval may say that two runs are the same."""
_SLACK = 1e-9
"""Points by which floating-point sums may miss the tolerance: 41 of 250 lost are 16.400000000000002 points."""


@dataclass(frozen=True)
class Settings:
    """How strict the comparison is."""

    test: Test | None = None
    """None: McNemar's exact test where samples are right or wrong, the bootstrap elsewhere."""
    alpha: float = 0.05
    tolerance: float = 0.0
    """Points on 0-100 that the candidate may lose."""
    metric: str | None = None
    """Instead of each task's headline."""
    fail_on_unclear: bool = False
    """Whether ``can't tell`` about everything together or a task fails, as ``worse`` does."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise UsageError(f"--alpha {self.alpha}: give a level between 0 and 1, such as 0.05")
        if not 0 <= self.tolerance <= 100:
            raise UsageError(f"--tolerance {self.tolerance}: give points between 0 and 100")


@dataclass(frozen=True)
class Row:
    """One comparison. Scores and differences are on 0-100, 100 times the task's figure. Points (MME's) are percent of
    the most there can be; other values beyond 1 percent of the largest one in either run. Of a category it is the mean
    of the samples' own values."""

    scope: Scope
    task: str
    """Empty for ``overall``."""
    category: str
    metric: str
    n: int
    observations: int
    """What the test is of: samples, or clusters of those that share a picture, a video or a question."""
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    test: Test
    p: float
    p_corrected: float
    smallest: float | None
    """The smallest difference that McNemar's test could ever show; None of another test, or if none could be."""
    verdict: Verdict
    reason: str

    @property
    def name(self) -> str:
        """For tables."""
        short = self.task.removeprefix("lladav_")
        return {"overall": "overall", "task": short, "category": f"{short} / {self.category}"}[self.scope]


@dataclass(frozen=True)
class Flip:
    """A sample whose value changed."""

    task: str
    doc_id: int
    before: float
    after: float
    status_before: str
    status_after: str
    text_before: str
    text_after: str
    target: Any


@dataclass(frozen=True)
class Regression:
    """The whole comparison."""

    baseline: RunData
    candidate: RunData
    settings: Settings
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    """Why the runs are not comparable; empty if they are."""
    rows: tuple[Row, ...] = ()
    lost: tuple[Flip, ...] = ()
    won: tuple[Flip, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """What differs and may explain a difference: settings, model, failed samples, reported sums; and what fails though
    it isn't worse."""

    @property
    def exit_code(self) -> int:
        """0 fine, 1 worse (or, where that fails too, can't tell), 2 not comparable."""
        return 2 if self.reasons else int(any(fails(row, self.settings) for row in self.rows))

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "settings": asdict(self.settings),
            "baseline": run_facts(self.baseline),
            "candidate": run_facts(self.candidate),
            "rows": [asdict(row) for row in self.rows],
            "lost": [asdict(flip) for flip in self.lost],
            "won": [asdict(flip) for flip in self.won],
        }


def fails(row: Row, settings: Settings) -> bool:
    """Whether a row makes the candidate fail. Categories inform only."""
    unclear = settings.fail_on_unclear and row.verdict == "can't tell"
    return row.scope != "category" and (row.verdict == "worse" or unclear)


def regress(baseline: RunData, candidate: RunData, settings: Settings | None = None) -> Regression:
    """Compare two runs. Raises UsageError for a metric or test that doesn't fit the tasks."""
    settings = settings or Settings()
    reasons = incomparable(baseline, candidate)
    if reasons:
        return Regression(baseline, candidate, settings, "not comparable", tuple(reasons))
    found = groups(baseline, candidate, settings.metric, settings.test)
    rows = _judged(found, settings)
    lost, won = _flips(found, baseline, candidate)
    parts = [note for group in found if group.scope == "task" for note in _partly(group, baseline)]
    notes = (*parts, *_notes(baseline, candidate), *_unclear(rows, settings))
    return Regression(baseline, candidate, settings, _together(rows), (), tuple(rows), lost, won, notes)


def _together(rows: Sequence[Row]) -> Verdict:
    """One verdict: worse anywhere is worse; otherwise what the first row, everything together, could show."""
    verdicts = {row.verdict for row in rows if row.scope != "category"}
    order: tuple[Verdict, ...] = ("worse", "can't tell", "better")
    if rows[0].verdict == "better" and "worse" not in verdicts:
        return "better"
    return next((verdict for verdict in order if verdict in verdicts), "same")


def _judged(groups: Sequence[Group], settings: Settings) -> list[Row]:
    paired = [
        compare_pairs(group.before, group.after, settings.test, settings.alpha, group.clusters) for group in groups
    ]
    corrected = [0.0] * len(groups)
    sizes: Mapping[str, int] = {
        scope: sum(g.scope == scope for g in groups) for scope in ("overall", "task", "category")
    }
    for scope in sizes:
        indices = [index for index, group in enumerate(groups) if group.scope == scope]
        for index, p in zip(indices, holm([paired[index].p for index in indices]), strict=True):
            corrected[index] = p
    return [
        _row(group, pair, p, sizes[group.scope], settings)
        for group, pair, p in zip(groups, paired, corrected, strict=True)
    ]


def _row(group: Group, pair: Paired, p: float, tests: int, settings: Settings) -> Row:
    smallest = pair.smallest(settings.alpha, tests)
    difference, low, high = 100 * pair.difference, 100 * pair.low, 100 * pair.high
    n = len(group.identities)
    verdict, reason = _verdict(pair, difference, low, high, p, smallest, settings)
    if group.reported is not None and verdict in ("same", "better"):
        before, after = group.reported
        if before - after > settings.tolerance + _SLACK:
            verdict = "can't tell"
            reason = (
                f"{group.metric} fell by {before - after:.1f} points of 100, and no test is known for such a figure"
            )
    wins, losses = changes(group.own_before, group.own_after)
    return Row(
        group.scope, group.task, group.category, group.metric, n, pair.n,
        100 * math.fsum(group.before) / n, 100 * math.fsum(group.after) / n, difference, low, high,
        wins, losses, n - wins - losses, pair.test, pair.p, p, smallest, verdict, reason,
    )  # fmt: skip


def _verdict(
    pair: Paired, difference: float, low: float, high: float, p: float, smallest: float | None, settings: Settings
) -> tuple[Verdict, str]:
    if pair.ties == pair.n:
        return "same", f"no sample of {pair.n} changed"
    significant = p <= settings.alpha
    margin = settings.tolerance if significant else max(settings.tolerance, SAME_WITHIN)
    # The bootstrap's interval of a few observations is too narrow to exclude anything.
    within = pair.n >= _FEWEST and -margin - _SLACK <= low and high <= margin + _SLACK
    if significant and not within and (difference > 0 or -difference > settings.tolerance + _SLACK):
        way: Verdict = "worse" if difference < 0 else "better"
        return way, f"{abs(difference):.1f} points {way}, p = {p:.2g}"
    if within:
        return "same", f"the difference lies within {margin:g} points"
    if significant:
        return "can't tell", f"a loss is certain, but not whether it is beyond {settings.tolerance:g} points"
    reason = f"n = {pair.n} is too small for what changed ({pair.losses} lost, {pair.wins} won)"
    if pair.test == "mcnemar":
        best = "no difference at all" if smallest is None else f"{smallest:.1f} points"
        reason += f"; at best it shows {best}"
    return "can't tell", reason


def _flips(groups: Sequence[Group], baseline: RunData, candidate: RunData) -> tuple[tuple[Flip, ...], tuple[Flip, ...]]:
    """Samples that lost and samples that gained."""
    lost: list[Flip] = []
    won: list[Flip] = []
    for group in groups:
        if group.scope != "task":
            continue
        for identity, before, after in zip(group.identities, group.own_before, group.own_after, strict=True):
            if before != after:
                old, new = baseline.samples[identity], candidate.samples[identity]
                flip = Flip(*identity, before, after, old.status, new.status, old.text, new.text, old.target)
                (lost if after < before else won).append(flip)
    return tuple(lost), tuple(won)


def _partly(group: Group, run: RunData) -> list[str]:
    task = run.tasks[group.task]
    return partly(task.short, group.metric, len(group.identities), task.n)


def _notes(baseline: RunData, candidate: RunData) -> list[str]:
    notes = []
    if baseline.fingerprint == candidate.fingerprint:
        notes.append("both runs are of the same weights")
    if baseline.kind != candidate.kind:
        notes.append(f"the baseline is {baseline.kind}, the candidate {candidate.kind}")
    for name, ours in baseline.tasks.items():
        theirs = candidate.tasks[name]
        if ours.headline in OUR_PROTOCOLS and ours.headline != baseline.protocol:
            notes.append(f"{ours.short}: tested is {ours.headline}, as there is no {baseline.protocol} figure")
        for setting in sorted(ours.settings.keys() | theirs.settings.keys()):
            before, after = ours.settings.get(setting), theirs.settings.get(setting)
            if before != after:
                notes.append(f"{ours.short}: {setting} {before!r} became {after!r}")
        doc_ids = [sample.doc_id for sample in baseline.of_task(name)]
        if media := other_media(name, doc_ids, baseline, candidate):
            notes.append(f"{ours.short}: {media}: their data or the versions of their decoders differ")
        if ours.served_models and theirs.served_models and ours.served_models != theirs.served_models:
            before, after = ", ".join(ours.served_models), ", ".join(theirs.served_models)
            notes.append(f"{ours.short}: the endpoint's model {before} became {after}")
        for kind in ("failed", "unparsed", "empty"):
            if getattr(ours, kind) != getattr(theirs, kind):
                notes.append(f"{ours.short}: {kind} {getattr(ours, kind)} became {getattr(theirs, kind)} of {ours.n}")
        before, after = ours.metrics[ours.headline], theirs.metrics[theirs.headline]
        if not before.is_mean or not after.is_mean:
            notes.append(f"{ours.short}: {ours.headline} as reported {before.value:.2f} became {after.value:.2f}")
    return notes


def _unclear(rows: Sequence[Row], settings: Settings) -> list[str]:
    """Why the candidate fails though nothing may be worse."""
    names = [row.name for row in rows if row.verdict == "can't tell" and fails(row, settings)]
    return [f"--fail-on-unclear: can't tell about {', '.join(names)}, which fails"] if names else []
