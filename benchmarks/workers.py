"""Times a run with two workers of one thread each against one worker of one thread.

    python benchmarks/workers.py                        # the pocket suite, three interleaved pairs
    python benchmarks/workers.py --limit 8 --pairs 1    # a check of the script itself, in seconds
    python benchmarks/workers.py --engine ray           # the same with workers placed by Ray

Both sides go through the whole run loop: rows are read and questions built in this process, sent to the workers,
answered, and written to the journal with a flush for each batch. Timed is the span from the first row to the last
answer on disk; starting the workers, loading the model and scoring are left out. Every run begins with an empty
journal; all must leave the same answers, or the script fails. Samples a second are medians over pairs. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in the workers

import psutil

from lladav_eval.cli.engines import model_loader
from lladav_eval.cli.quiet import quiet_libraries
from lladav_eval.engine.base import Engine, Finished, Item
from lladav_eval.engine.crew import CrewEngine
from lladav_eval.engine.processes import process_engine
from lladav_eval.records import DEFAULT_BATCH_SIZE, Answerer, RunSpec
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory
from lladav_eval.runs.tasks import resolve_tasks


class Kept:
    """A started engine that outlives its runs and times their answers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = engine.name
        self.fingerprint = engine.fingerprint
        self.description = engine.description
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def __call__(self, load_model: Callable[[], Answerer], batch_size: int) -> Kept:
        return self

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stays for the next run."""

    def answer(self, items: Iterator[Item]) -> Generator[list[Finished], None, None]:
        started, used = time.perf_counter(), _cpu_seconds()
        yield from self.engine.answer(items)
        self.seconds, self.cpu_seconds = time.perf_counter() - started, _cpu_seconds() - used


def _cpu_seconds() -> float:
    """Of this process and those it started; workers that wait use none."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def start(name: str, spec: RunSpec, workers: int) -> CrewEngine:
    """Workers with their model loaded: all of them, not only the first."""
    load, size = model_loader(spec), spec.batch_size or DEFAULT_BATCH_SIZE
    if name == "ray":
        from lladav_eval.engine.ray import ray_engine

        return ray_engine(load, size, workers=workers, one_gpu_each=False)
    return process_engine(load, size, workers=workers, one_gpu_each=False)


def run(engine: Kept, spec: RunSpec) -> tuple[float, float, list[dict[str, Any]]]:
    """Samples a second, CPU milliseconds per sample, and the answers."""
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder) / "run")
        execute(spec, _never, directory, engine=engine)
        rows = [json.loads(line) for line in directory.samples.read_text().splitlines()]
    for row in rows:
        del row["seconds"], row["cost"]
    return len(rows) / engine.seconds, 1000 * engine.cpu_seconds / len(rows), rows


def _never() -> Answerer:
    raise AssertionError("the engine has its model already")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pocket")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    options = parser.parse_args()
    quiet_libraries(offline=True)
    tasks = resolve_tasks([options.task])
    spec = RunSpec(tasks, "pocket", limit=options.limit, batch_size=options.batch_size, device="cpu", dtype="float32")
    rates: dict[int, list[float]] = {1: [], 2: []}
    costs: dict[int, list[float]] = {1: [], 2: []}
    expected = None
    for pair in range(options.pairs):
        for workers in (1, 2) if pair % 2 == 0 else (2, 1):
            with start(options.engine, spec, workers) as engine:  # not both at once: Ray gives a CPU to one worker only
                run(Kept(engine), replace(spec, limit=4, batch_size=1))
                rate, cost, rows = run(Kept(engine), spec)
            expected = expected or rows
            if rows != expected:
                raise SystemExit(f"{workers} workers gave other answers")
            rates[workers].append(rate)
            costs[workers].append(cost)
            print(f"pair {pair + 1}: {workers} worker(s), {rate:.1f} samples/s, {cost:.2f} CPU ms each", flush=True)
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    print(
        json.dumps(
            {
                "benchmark": "workers",
                "engine": options.engine,
                "tasks": len(tasks),
                "samples": len(expected or []),
                "one_worker_per_second": round(statistics.median(rates[1]), 1),
                "two_workers_per_second": round(statistics.median(rates[2]), 1),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
                "target": 1.7,
                "cpu_ms_per_sample": {workers: round(statistics.median(cost), 2) for workers, cost in costs.items()},
                "cpus": len(os.sched_getaffinity(0)),
            }
        )
    )


if __name__ == "__main__":
    main()
