"""Fuzzing for as long as there is time: how many bad inputs of each kind were tried, and which were not refused well.

    python benchmarks/fuzz.py [--seconds 20] [--only journal,pictures] [--keep DIR]

Inputs and checks are those of tests/fuzzing/, made by hypothesis. Every kind is tried for so many seconds, in a
process of its own with at most 12 GiB of address space, so that a crash inside a C library or a hang is found too.
The input that did it is kept in DIR. Exit code 1 where anything was found. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]  # this folder would stand in for tests/scoring

HANG = 30
"""Seconds after which an input counts as a hang."""
BATCH = 50


class Hang(BaseException):
    """An input took too long."""


def play(name: str, seconds: float, keep: Path) -> None:
    """Try inputs of one kind until the time is up; the count and the last input are on disk at any moment."""
    from fuzzing.targets import TARGETS
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    def late(*_: object) -> None:
        raise Hang(f"more than {HANG} s")

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    signal.signal(signal.SIGALRM, late)
    target, end = TARGETS[name], time.monotonic() + seconds
    found: list[dict[str, str]] = []
    tried, slowest = 0, 0.0
    last, state = keep / f"{name}.last", keep / f"{name}.json"

    def one(data: Any) -> None:
        nonlocal tried, slowest
        content = data.draw(target.inputs)
        tried += 1
        if target.isolated:
            last.write_bytes(content if isinstance(content, bytes) else repr(content).encode())
            state.write_text(json.dumps({"tried": tried, "found": found}))
        began = time.monotonic()
        signal.alarm(HANG)
        try:
            with tempfile.TemporaryDirectory() as folder:
                target.check(content, Path(folder))
        except (Exception, Hang) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"[:300]
            if not any(entry["error"].split(":")[0::3] == text.split(":")[0::3] for entry in found) and len(found) < 10:
                place = keep / f"{name.replace(' ', '_')}-{len(found)}.input"
                place.write_bytes(content if isinstance(content, bytes) else repr(content).encode())
                found.append({"error": text, "input": str(place)})
        finally:
            signal.alarm(0)
            slowest = max(slowest, time.monotonic() - began)

    turn = 0
    while turn == 0 or time.monotonic() < end:  # one batch at least, however long the imports took
        turn += 1
        shape = settings(
            max_examples=BATCH, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        seed(int(time.time_ns()) + turn)(shape(given(st.data())(one)))()
    state.write_text(json.dumps({"tried": tried, "found": found, "slowest_seconds": round(slowest, 2)}))


def run(name: str, seconds: float, keep: Path) -> dict[str, Any]:
    """One kind in its own process; a crash is a finding, and the rest of the time goes on with another process."""
    total: dict[str, Any] = {"tried": 0, "found": [], "slowest_seconds": 0.0}
    end = time.monotonic() + seconds
    left = seconds
    while total["tried"] == 0 or left > 1:
        process = multiprocessing.get_context("spawn").Process(target=play, args=(name, left, keep))
        process.start()
        process.join(left + 3 * HANG)
        if process.is_alive():
            process.kill()
            process.join()
        state = keep / f"{name}.json"
        result = json.loads(state.read_text()) if state.exists() else {"tried": 0, "found": []}
        total["tried"] += result["tried"]
        total["found"] += result["found"]
        total["slowest_seconds"] = max(total["slowest_seconds"], result.get("slowest_seconds", 0.0))
        if process.exitcode == 0:
            break
        place = keep / f"{name.replace(' ', '_')}-crash-{len(total['found'])}.input"
        if (keep / f"{name}.last").exists():
            (keep / f"{name}.last").replace(place)
        total["found"].append({"error": f"the process ended with {process.exitcode}", "input": str(place)})
        if len(total["found"]) > 10:
            break
        left = end - time.monotonic()
    return total


def main() -> None:
    from fuzzing.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each kind of input")
    parser.add_argument("--only", help="kinds, separated by commas; default: all")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that were found; default: a temporary one")
    arguments = parser.parse_args()
    keep = arguments.keep or Path(tempfile.mkdtemp(prefix="fuzz"))
    keep.mkdir(parents=True, exist_ok=True)
    names = arguments.only.split(",") if arguments.only else list(TARGETS)
    results: dict[str, Any] = {}
    for name in names:
        results[name] = run(name, arguments.seconds, keep)
        print(f"{name:24} {results[name]['tried']:8,} inputs, {len(results[name]['found'])} findings", flush=True)
        for entry in results[name]["found"]:
            print(f"    {entry['error']}   {entry['input']}", flush=True)
    found = sum(len(result["found"]) for result in results.values())
    tried = {name: result["tried"] for name, result in results.items()}
    print(json.dumps({"benchmark": "fuzz", "inputs": sum(tried.values()), "findings": found, "tried": tried}))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
