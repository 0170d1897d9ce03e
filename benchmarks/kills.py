"""A run killed at random moments and resumed, against the same run unbroken: what is lost, doubled, done twice?

    python benchmarks/kills.py [--kills 20] [--signal KILL|TERM|INT|MIX] [--task pocket] [--limit N] [--seed 0]

Every session is `lladav-eval run` in a process of its own. The moments are drawn over the whole time line of the
unbroken run: starting up, answering, scoring and writing. In the end samples.jsonl and results.json must be those of
the unbroken run byte for byte, timings apart; each sample must stand in the journal once; and no kill may cost more
than one batch. Exit code 1 where that isn't so. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

TIMED = re.compile("second|latency|peak_memory|^date$")
"""Names of fields that say when, how long or with how much memory: they differ between any two runs."""
LOADED = [
    "lladav_eval.cli.run", "lladav_eval.runs.execute", "lladav_eval.adapters.models", "lladav_eval.pipeline",
    "lmms_eval.api.task", "lmms_eval.tasks", "lmms_eval.models", "datasets", "rich.progress", "rich.table",
]  # fmt: skip
"""Imported once by the process that the sessions are forked from, so that a session starts in a moment."""

ATTEMPTS = 20
"""Sessions that may end before their signal, one after another."""

ENDED = (0, 1)
"""Exit codes of a run that came to its end; 1 says that samples failed."""

Prepare = Callable[[Path], None]
"""Called in a session's process before the command; its argument is where to write what was asked."""


@dataclass
class Session:
    """One process."""

    asked: int
    """Answers it began to give."""
    kept: int
    """Lines it added to the journal."""
    code: int
    number: int
    """The signal it got; 0 is none."""
    phase: str
    """What it was doing when the signal came."""
    said: str
    """Its standard error."""


@dataclass
class Timeline:
    """Seconds of an unbroken run."""

    start: float
    answer: float
    finish: float
    samples: int
    batch_size: int

    @property
    def one_batch(self) -> float:
        return self.answer / max(1, self.samples) * self.batch_size


@dataclass
class Trial:
    """A run directory and how it is asked for; sessions are added one after the other."""

    folder: Path
    words: Sequence[str]
    prepare: Prepare
    sessions: list[Session] = field(default_factory=list)

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def lines(self) -> int:
        """Whole lines of the journal."""
        path = self.run / "journal.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def start(self) -> BaseProcess:
        """A session that runs until it ends or is killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        process = _context().Process(
            target=session, args=(self.folder, [*self.words, "--out", str(self.run)], self.prepare)
        )
        process.start()
        return process

    def end(self, process: BaseProcess, before: tuple[int, int], phase: str, number: int = 0) -> Session:
        """Wait for a session and note what it did."""
        process.join()
        asked, kept = _count(self.folder / "asked"), self.lines()
        said = (self.folder / "said").read_text(errors="replace")
        self.sessions.append(Session(asked - before[0], kept - before[1], process.exitcode or 0, number, phase, said))
        return self.sessions[-1]

    def whole(self, batch_size: int) -> Timeline:
        """An unbroken session, timed."""
        began = time.perf_counter()
        process = self.start()
        first = last = 0.0
        seen = 0
        while process.is_alive():
            size = _size(self.run / "journal.jsonl")
            if size != seen:
                seen, last = size, time.perf_counter()
                first = first or last
            time.sleep(0.005)
        ended = time.perf_counter()
        if self.end(process, (0, 0), "whole").code not in ENDED:
            raise SystemExit(f"error: the unbroken run failed: {self.sessions[-1].said.strip()[-500:]}")
        return Timeline(first - began, last - first, ended - last, self.lines(), batch_size)

    def kill(self, moment: float, timeline: Timeline, number: int, rng: random.Random) -> Session:
        """A session that gets signal ``number`` at ``moment`` of the unbroken run's time line."""
        before = _count(self.folder / "asked"), self.lines()
        process = self.start()
        if moment < timeline.start:
            phase = "starting"
            process.join(moment)
        elif moment < timeline.start + timeline.answer:
            phase = "answering"
            wanted = int((moment - timeline.start) / timeline.answer * (timeline.samples - 2 * timeline.batch_size))
            self._wait(process, max(wanted, before[1] + 1))
            process.join(rng.random() * timeline.one_batch)
        else:
            phase = "finishing"
            self._wait(process, timeline.samples)
            process.join(moment - timeline.start - timeline.answer)
        if process.is_alive():
            os.kill(process.pid or 0, number)
        return self.end(process, before, phase, number)

    def _wait(self, process: BaseProcess, lines: int) -> None:
        while process.is_alive() and self.lines() < lines:
            time.sleep(0.003)


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


def session(folder: Path, words: list[str], prepare: Prepare) -> None:
    """What a session's process does."""
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it
    from lladav_eval.cli import main

    prepare(folder / "asked")
    code = main.invoke(words)
    sys.stdout.flush()
    os._exit(code)


def note_questions(asked: Path) -> None:
    """Have our model write down each sample as it enters the batch."""
    from lladav_eval.continuous import Batch

    bind = Batch._bind

    def noted(self: Batch, joining: list[Any]) -> Any:
        write_asked(asked, [str(job.index) for job in joining])
        return bind(self, joining)

    Batch._bind = noted  # type: ignore[method-assign]


def write_asked(asked: Path, names: Sequence[str]) -> None:
    """One line a question, in one write."""
    handle = os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, "".join(name + "\n" for name in names).encode())
    os.close(handle)


def _count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def without_timings(value: Any) -> Any:
    """The same JSON value without the fields that say how long something took."""
    if isinstance(value, dict):
        return {name: without_timings(item) for name, item in value.items() if not TIMED.search(name)}
    return [without_timings(item) for item in value] if isinstance(value, list) else value


def canonical(run: Path) -> tuple[bytes, bytes]:
    """samples.jsonl and results.json without timings, otherwise as they are."""
    lines = (run / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = "".join(json.dumps(without_timings(json.loads(line))) + "\n" for line in lines)
    results = json.dumps(without_timings(json.loads((run / "results.json").read_text(encoding="utf-8"))), indent=2)
    return samples.encode(), results.encode()


def problems(broken: Trial, whole: Trial, samples: int, batch_size: int) -> list[str]:
    """What is not as it must be; nothing, if all is well."""
    found = []
    last = broken.sessions[-1]
    if last.code not in ENDED:
        return [f"the last session ended with {last.code}: {last.said.strip()[-300:]}"]
    for name, ours, theirs in zip(
        ("samples.jsonl", "results.json"), canonical(broken.run), canonical(whole.run), strict=True
    ):
        if ours != theirs:
            found.append(f"{name} differs from the unbroken run's")
    times: Counter[tuple[str, int]] = Counter()
    for line in (broken.run / "journal.jsonl").read_text().splitlines():
        record = json.loads(line)["record"]
        times[record["task"], record["doc_id"]] += 1
    if len(times) != samples:
        found.append(f"the journal has {len(times)} of {samples} samples")
    if doubled := sum(count > 1 for count in times.values()):
        found.append(f"{doubled} samples stand in the journal more than once")
    if sum(done.asked for done in broken.sessions) < samples:
        found.append("fewer answers were begun than there are: the count of what is lost is worth nothing")
    for place, done in enumerate(broken.sessions[:-1]):
        if done.asked - done.kept > batch_size:
            found.append(f"kill {place}: {done.asked - done.kept} answers lost, a batch is {batch_size}")
        if done.number != signal.SIGKILL and not _ended_well(done):
            found.append(f"kill {place} ({done.phase}): exit code {done.code}, said {done.said.strip()[-200:]!r}")
    return found


def _ended_well(done: Session) -> bool:
    """130 and the command that resumes; a session may also end by the signal itself before it has begun."""
    if done.code == 130:
        return "resume with: lladav-eval run" in done.said or (done.phase == "starting" and not done.kept)
    return done.code in ENDED or (done.code < 0 and done.phase == "starting" and not done.asked)


def play(
    folder: Path, words: Sequence[str], prepare: Prepare, kills: int, signals: Sequence[int], batch_size: int, seed: int
) -> dict[str, Any]:
    """The unbroken run, the broken one, and the comparison."""
    rng = random.Random(seed)
    first = Trial(folder / "first", [*words, "--limit", "1"], prepare)
    first.whole(batch_size)  # imports and prepared data sets are paid for once
    whole = Trial(folder / "whole", words, prepare)
    timeline = whole.whole(batch_size)
    print(
        f"unbroken: {timeline.samples} samples; {timeline.start:.2f} s to the first answers, {timeline.answer:.2f} s "
        f"answering, {timeline.finish:.2f} s scoring and writing",
        flush=True,
    )
    broken = Trial(folder / "broken", words, prepare)
    length = timeline.start + timeline.answer + timeline.finish
    landed: Counter[str] = Counter()
    for moment in sorted(rng.random() * length for _ in range(kills)):
        number = signals[sum(landed.values()) % len(signals)]
        for _ in range(ATTEMPTS):
            if (done := broken.kill(moment, timeline, number, rng)).code not in ENDED:
                break
            # It was quicker than the signal.
            base = timeline.start + timeline.answer if done.phase == "finishing" else 0.0
            moment = base + (moment - base) * rng.random()
        else:
            raise SystemExit(f"error: {ATTEMPTS} sessions in a row took no notice of {signal.Signals(number).name}")
        landed[done.phase] += 1
        print(
            f"{signal.Signals(number).name:7} {sum(landed.values()):2} while {done.phase:9}: {broken.lines():6} of "
            f"{timeline.samples} answers are on disk, {done.asked - done.kept} lost; exit code {done.code}",
            flush=True,
        )
    before = _count(broken.folder / "asked"), broken.lines()
    broken.end(broken.start(), before, "whole")
    rejected = broken.run / "journal.rejected.jsonl"
    lost = [done.asked - done.kept for done in broken.sessions[:-1] if done.code not in ENDED]
    return {
        "samples": timeline.samples,
        "kills": sum(landed.values()),
        "signals": [signal.Signals(number).name for number in signals],
        "landed": dict(landed),
        "batch_size": batch_size,
        "answers_given_twice": sum(lost),
        "most_lost_by_a_kill": max(lost, default=0),
        "torn_lines": _count(rejected),
        "exit_codes": {str(code): count for code, count in Counter(d.code for d in broken.sessions).items()},
        "problems": problems(broken, whole, timeline.samples, batch_size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--signal", choices=("KILL", "TERM", "INT", "MIX"), help="MIX takes them in turn", default="KILL"
    )
    parser.add_argument("--task", default="pocket")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    words = ["run", "--task", arguments.task, "--model", "pocket", "--batch-size", str(arguments.batch_size)]
    words += ["--offline"] + (["--limit", str(arguments.limit)] if arguments.limit else [])
    names = ("KILL", "TERM", "INT") if arguments.signal == "MIX" else (arguments.signal,)
    signals = [int(signal.Signals[f"SIG{name}"]) for name in names]
    # What killed sessions leave of semaphores is cleaned up by multiprocessing, which warns of it.
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    with tempfile.TemporaryDirectory() as folder:
        result = play(
            Path(folder), words, note_questions, arguments.kills, signals, arguments.batch_size, arguments.seed
        )
    for problem in result["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    print(json.dumps({"benchmark": "kills", "task": arguments.task, "seed": arguments.seed, **result}))
    sys.exit(1 if result["problems"] else 0)


if __name__ == "__main__":
    main()
