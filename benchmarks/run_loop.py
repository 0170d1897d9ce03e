"""What the run loop itself costs: samples a second and memory with a model that costs nothing, on a text-only task.

    python benchmarks/run_loop.py [--samples 1000,10000,100000] [--batch-size N] [--profile]

A generated task and a stand-in model go through the loop every run uses (runs/execute.py): rows, prompts, keys, journal
(forced to disk batch by batch), scoring, samples.jsonl, results.json. Each number of samples has a process of its own,
whose resident memory at the end and peak are reported; ``seconds`` (and ``cpu_seconds``, which other processes disturb
less) begin once the task is loaded. The last line is JSON; its ``samples_per_second`` is that of the middle size.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lladav_eval.records import Generation, Question, RunSpec

NAME = "bench_text"

FUNCTIONS = """
def doc_to_visual(doc):
    return []

def doc_to_text(doc):
    return doc["question"]

def process_results(doc, results):
    right = float(results[0] == doc["answer"])
    return {"accuracy": right, "extracted": results[0], "status": "scored"}

def mean(items):
    return sum(items) / len(items)
"""

YAML = f"""
task: {NAME}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {NAME}.parquet
test_split: test
output_type: generate_until
doc_to_visual: !function run_loop_functions.doc_to_visual
doc_to_text: !function run_loop_functions.doc_to_text
doc_to_target: answer
generation_kwargs:
  gen_length: 4
  block_length: 4
  steps: 4
process_results: !function run_loop_functions.process_results
metric_list:
  - metric: accuracy
    aggregation: !function run_loop_functions.mean
    higher_is_better: true
metadata:
  version: 1.0
"""


class Costless:
    """Answers every question with the same letter."""

    name = "costless"
    fingerprint = "costless-1"

    def description(self) -> dict[str, Any]:
        return {"dtype": "none", "device": "cpu"}

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        return [Generation("B", (17, 18, 19, 20), question.params.steps) for question in questions]


def write_task(folder: Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "run_loop_functions.py").write_text(FUNCTIONS)
    (folder / f"{NAME}.yaml").write_text(YAML)
    questions = [f"Question {row}: which of A, B, C and D comes {row % 4 + 1}. in the alphabet?" for row in range(rows)]
    pq.write_table(
        pa.table({"question": questions, "answer": ["ABCD"[row % 4] for row in range(rows)]}),
        folder / f"{NAME}.parquet",
    )


def status(field: str) -> float:
    """A line of this process's status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(field + ":")]
    return round(int(line.split()[1]) / 1024, 1)


def measure(samples: int, batch_size: int, folder: Path, profile: bool) -> dict[str, Any]:
    """One run in this process."""
    from lladav_eval.runs.execute import execute
    from lladav_eval.runs.store import RunDirectory

    begun: list[float] = []
    profiler = cProfile.Profile(time.process_time)

    def load() -> Costless:
        begun.extend((time.perf_counter(), time.process_time()))
        if profile:
            profiler.enable()
        return Costless()

    spec = RunSpec((NAME,), "costless", limit=samples, batch_size=batch_size, offline=True, include_path=(str(folder),))
    directory = RunDirectory(folder / f"run-{samples}")
    result = execute(spec, load, directory)
    seconds, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    profiler.disable()
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(35)
    memory = {"rss_mb": status("VmRSS"), "peak_mb": status("VmHWM")}
    if result.results["tasks"][NAME]["n"] != samples or len(directory.journal.read_bytes().splitlines()) != samples:
        raise SystemExit("samples are missing from the results or the journal")
    return {
        "samples": samples,
        "seconds": round(seconds, 2),
        "samples_per_second": round(samples / seconds),
        "cpu_seconds": round(cpu, 2),
        **memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", default="1000,10000,100000")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, arguments.batch_size, arguments.folder, arguments.profile)))
        return
    sizes = [int(text) for text in arguments.samples.split(",")]
    runs = []
    with tempfile.TemporaryDirectory() as name:
        write_task(Path(name), max(sizes))
        for samples in sizes:
            command = [sys.executable, __file__, "--measure", str(samples), "--batch-size", str(arguments.batch_size)]
            command += ["--folder", name, *["--profile"] * arguments.profile]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            if arguments.profile:
                print(output)
            runs.append(json.loads(output.splitlines()[-1]))
            print(runs[-1], flush=True)
    middle = runs[len(runs) // 2]
    print(json.dumps({"samples_per_second": middle["samples_per_second"], "runs": runs}))


if __name__ == "__main__":
    main()
