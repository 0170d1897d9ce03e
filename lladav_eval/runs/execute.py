"""The run loop: rows -> questions -> answers -> journal, group by group, then scores and results from the journal.

Whatever ends the process, every answer reported done is on disk, and the same command goes on from there.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lladav_eval.engine.ahead import Ahead
from lladav_eval.engine.base import Engine, Finished, Item, StartEngine
from lladav_eval.engine.local import LocalEngine
from lladav_eval.errors import (
    EnvironmentError_,
    EvalError,
    Interrupted,
    SettingError,
    TooManyFailures,
    UsageError,
)
from lladav_eval.interrupts import interrupts
from lladav_eval.records import DEFAULT_BATCH_SIZE, Answerer, RunSpec
from lladav_eval.runs import manifest
from lladav_eval.runs.checks import check_plan
from lladav_eval.runs.journal import Journal, Record
from lladav_eval.runs.progress import progress_bars, say
from lladav_eval.runs.questions import Plan, build, plan_task
from lladav_eval.runs.results import TaskResults
from lladav_eval.runs.store import RunDirectory, read_json
from lladav_eval.runs.tasks import load_tasks
from lladav_eval.runs.verdicts import Ask

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

MAX_FAILURES = "1%"
"""What --max-failures is unless given."""


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    directory: RunDirectory
    results: dict[str, Any]
    """The content of results.json."""

    @property
    def failed(self) -> int:
        """Failed samples over all tasks."""
        return sum(task["failed"] for task in self.results["tasks"].values())


def allowed_failures(rule: str | None, total: int) -> int:
    """How many of ``total`` samples may fail: "5" is a number, "1%" a share, rounded up to a whole sample."""
    rule = MAX_FAILURES if rule is None else rule
    number = rule.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    share = rule.endswith("%")
    if not math.isfinite(value) or value < 0 or (share and value > 100) or (not share and value != int(value)):
        raise SettingError(f"--max-failures {rule!r}: give a number of samples (5) or a share of them (1%)")
    return math.ceil(total * Decimal(str(value)) / 100) if share else int(value)


def execute(
    spec: RunSpec,
    load_model: Callable[[], Answerer],
    directory: RunDirectory,
    *,
    engine: StartEngine = LocalEngine,
    resume: bool = True,
    retry_failed: bool = False,
    console: Console | None = None,
    ask: Ask | None = None,
) -> RunResult:
    """Run what ``spec`` asks and leave the results in ``directory``.

    Answers already in the directory's journal are used where their key matches (runs/keys.py). Once the cheaper checks
    have passed, ``engine`` calls ``load_model`` wherever it answers. ``console`` shows a progress bar. ``ask`` reaches
    the judge of official protocols that need one.

    Raises Interrupted and TooManyFailures (both resumable), and any EvalError of the parts.
    """
    allowed_failures(spec.max_failures, 1)
    made = not directory.path.exists()
    directory.create()
    _refuse_foreign(directory, spec)  # before a lock lies among files that are none of ours
    again = manifest.command(spec, directory.path, retry_failed)
    with _removed_unless_used(directory, made), directory.lock(), interrupts() as stopped:
        try:
            data = None if spec.data is None else Path(spec.data)
            tasks = load_tasks(spec.tasks, spec.include_path, data_dir=data, offline=spec.offline)
            plans = [plan_task(name, tasks[name], spec) for name in spec.tasks]
            for plan in plans:
                check_plan(plan, spec, console)
            with engine(load_model, spec.batch_size or DEFAULT_BATCH_SIZE) as ready:
                if not resume:  # not before all is known to be there that the new answers need
                    directory.start_over()
                run = _Run(spec, ready, directory, plans, retry_failed, again, ask, stopped)
                return run.go(console)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; resume with: {again}") from None


@dataclass
class _Count:
    """Samples that have an answer; each one is written by one thread only."""

    done: int = 0
    failed: int = 0

    def add(self, failed: bool) -> None:
        self.done += 1
        self.failed += failed


class _Run:
    """One execution inside a locked directory."""

    def __init__(
        self,
        spec: RunSpec,
        engine: Engine,
        directory: RunDirectory,
        plans: Sequence[Plan],
        retry_failed: bool,
        again: str,
        ask: Ask | None,
        stopped: threading.Event,
    ) -> None:
        self.spec = spec
        self.stopped = stopped
        self.engine = engine
        self.directory = directory
        self.plans = plans
        self.retry_failed = retry_failed
        self.again = again
        self.ask = ask
        self.total = sum(plan.count for plan in plans)
        self.allowed = allowed_failures(spec.max_failures, self.total)
        self.depth = 2 * (spec.batch_size or DEFAULT_BATCH_SIZE)
        self.held = _Count()
        self.answered = _Count()
        self.reason: str | None = None
        """Of the last sample that failed in this session."""

    def go(self, console: Console | None) -> RunResult:
        """Answer, score, write; the manifest says how it ended."""
        previous = self._previous(console)
        record = manifest.begin(self.spec, self.engine, {plan.name: plan.facts() for plan in self.plans}, previous)
        self.directory.write_json(self.directory.manifest, record)
        status = "failed"
        try:
            with Journal(self.directory.journal) as journal:
                self._report_rejected(journal, console)
                with progress_bars(console) as progress:
                    self._answer_all(journal, progress)
                results = self._score(journal, record["code"]["git"])
            status = "complete"
            return RunResult(self.directory, results)
        except KeyboardInterrupt:
            status = "interrupted"
            raise Interrupted(
                f"interrupted after {self.held.done + self.answered.done} of {self.total} samples; "
                f"resume with: {self.again}"
            ) from None
        except EnvironmentError_ as error:
            raise EnvironmentError_(f"{error}; resume with: {self.again}") from error
        finally:
            with contextlib.suppress(EvalError):  # a full disk must not hide the first error
                self.directory.write_json(self.directory.manifest, manifest.end(record, status))

    def _previous(self, console: Console | None) -> dict[str, Any] | None:
        """The manifest that lies in the directory; what is noteworthy about it is said."""
        if not self.directory.manifest.exists():
            return None
        try:
            found = read_json(self.directory.manifest)
        except UsageError as error:
            say(console, f"warning: {error}; a new one is written, and answers in the journal are used")
            return None
        if not isinstance(found, dict) or not isinstance(found.get("sessions", []), list):
            return None
        other = manifest.differences(found, self.spec)
        if other and self.directory.results.exists():
            say(console, f"warning: {self.directory.path} holds results of another run ({other}): they are replaced")
        return found

    def _report_rejected(self, journal: Journal, console: Console | None) -> None:
        for line in journal.rejected:
            say(console, f"warning: journal line {line.number}: {line.reason}; set aside in {journal.rejected_path}")

    def _answer_all(self, journal: Journal, progress: Progress) -> None:
        """Answer what the journal doesn't hold; the next questions are built beside the model."""
        bars: dict[str, TaskID] = {}
        with (
            Ahead(
                self._missing(journal, progress, bars),
                self.depth,
                lambda: self.total - self.held.done,
                lambda item: item.media_bytes,
            ) as items,
            contextlib.closing(self.engine.answer(items)) as groups,
        ):
            for group in groups:
                self._store(group, journal, progress, bars)

    def _missing(self, journal: Journal, progress: Progress, bars: dict[str, TaskID]) -> Iterator[Item]:
        """What needs an answer, in order. Runs in a thread of its own: it counts apart and only reads the journal."""
        for plan in self.plans:
            bars[plan.name] = progress.add_task(plan.name.removeprefix("lladav_"), total=plan.count)
            for doc_id in range(plan.count):
                item = build(plan, doc_id, self.engine.fingerprint)
                if journal.holds(plan.name, doc_id, item.key, self.spec.trace, self.retry_failed):
                    self.held.add(journal.failed(plan.name, doc_id))
                    progress.advance(bars[plan.name])
                    self._stop_if_too_many(plan.name)
                else:
                    yield item

    def _store(
        self, group: Sequence[Finished], journal: Journal, progress: Progress, bars: Mapping[str, TaskID]
    ) -> None:
        """Put a finished group on disk, and only then count it."""
        journal.append(
            [Record(item.task, item.doc_id, item.key, item.prompt, answer, item.media) for item, answer in group]
        )
        for _, answer in group:
            self.answered.add(answer.status == "failed")
            self.reason = answer.error or self.reason
        for task, count in Counter(item.task for item, _ in group).items():
            progress.advance(bars[task], count)  # at once: the bar's rate comes from the times between advances
        if self.stopped.is_set():
            raise KeyboardInterrupt
        self._stop_if_too_many(group[-1][0].task)

    def _stop_if_too_many(self, task: str) -> None:
        failed = self.held.failed + self.answered.failed
        if failed > self.allowed:
            raise TooManyFailures(
                f"{failed} samples failed (allowed: {self.allowed} of {self.total}), the last in {task}"
                f"{'' if self.reason is None else f' ({self.reason})'}; "
                f"raise --max-failures or add --retry-failed, and resume with: {self.again}"
            )

    def _score(self, journal: Journal, commit: dict[str, Any] | None) -> dict[str, Any]:
        """Score every sample from the journal's text; write samples.jsonl and results.json."""
        diffusion = self.engine.description().get("kind") == "diffusion"
        where = self.spec, self.directory.path
        scored = [TaskResults(plan, journal, *where, self.ask, diffusion) for plan in self.plans]
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # a task's functions may print
            self.directory.write_lines(self.directory.samples, (row for task in scored for row in task.rows()))
        results = {
            "schema": 1,
            "model": manifest.redact(self.engine.name),
            "fingerprint": manifest.redact(self.engine.fingerprint),
            "protocol": self.spec.protocol,
            "date": manifest.now(),
            "code": {"git": commit},
            "tasks": {task.plan.name: task.summary() for task in scored},
        }
        self.directory.write_json(self.directory.results, results)
        return results


@contextlib.contextmanager
def _removed_unless_used(directory: RunDirectory, made: bool) -> Iterator[None]:
    """A command that is refused leaves no directory behind."""
    try:
        yield
    except BaseException:
        if made:
            directory.remove_unused()
        raise


def _refuse_foreign(directory: RunDirectory, spec: RunSpec) -> None:
    """Raises UsageError where a run would replace what no answers in the directory could make again."""
    files = [path for path in (directory.samples, directory.results, directory.table) if path.exists()]
    if not files or directory.journal.exists():
        return
    found = read_json(directory.manifest) if directory.manifest.exists() else None
    if not isinstance(found, dict) or not isinstance(found.get("spec"), dict):
        names = ", ".join(path.name for path in files)
        raise UsageError(f"{directory.path} holds {names}, which no run wrote: choose another --out")
    if other := manifest.differences(found, spec):
        raise UsageError(
            f"{directory.path} holds results of another run ({other}) without its answers: choose another --out"
        )
