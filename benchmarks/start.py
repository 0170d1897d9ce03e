"""How soon the command line answers: `--help`, `tasks`, and the first sample of a run of the embedded suite.

    python benchmarks/start.py [--repeats N]

Each is measured in fresh processes, after one that warms the disk's cache; the median counts. The first sample is there
once its line stands in the journal, which is written batch by batch. Times in seconds; ``cpu`` is the processor time
of the same processes, which others on the machine disturb less. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

COMMAND = (sys.executable, "-m", "lladav_eval")
LIMITS = {"help": 0.3, "tasks": 1.0, "first_sample": 6.0}


def cpu_seconds() -> float:
    """Processor time of all processes that have been started and ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def until_exit(*arguments: str) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run([*COMMAND, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def until_first_sample() -> float:
    """Seconds from the start of a run to the first line of its journal; the run is stopped then."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "run" / "journal.jsonl"
        command = [*COMMAND, "run", "--task", "pocket", "--model", "pocket", "--out", str(journal.parent)]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not (journal.exists() and journal.stat().st_size):
                if process.poll() is not None:
                    raise SystemExit(f"the run ended with code {process.returncode} before its first sample")
                time.sleep(0.005)
            seconds = time.perf_counter() - started
            process.kill()
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    measured: dict[str, Callable[[], float]] = {
        "help": lambda: until_exit("--help"),
        "tasks": lambda: until_exit("tasks"),
        "first_sample": until_first_sample,
    }
    result, cpu = {}, {}
    for name, run in measured.items():
        run()
        before = cpu_seconds()
        times = [run() for _ in range(repeats)]
        result[name] = round(statistics.median(times), 3)
        cpu[name] = round((cpu_seconds() - before) / repeats, 3)
        print(f"{name}: {result[name]} s (limit {LIMITS[name]}), of {[round(one, 3) for one in times]}", flush=True)
    print(json.dumps({**result, "cpu": cpu, "limits": LIMITS}))


if __name__ == "__main__":
    main()
