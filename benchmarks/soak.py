"""A soak: many samples with a fake model through the real run loop, journal and scoring, killed on the way.

    python benchmarks/soak.py [--samples 100000] [--kills 10] [--batch-size 64]

The run is made once unbroken, where memory is measured on the way, and once with kills at random moments
(benchmarks/kills.py). Nothing may be lost or doubled, and samples.jsonl and results.json must be equal to the byte;
memory must not grow by more than --growth bytes a sample. Exit code 1 where that isn't so. The last line is JSON.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kills import play, write_asked

YAML = """
task: lladav_soak
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: rows.parquet
test_split: test
output_type: generate_until
doc_to_visual: !function functions.doc_to_visual
doc_to_text: !function functions.doc_to_text
doc_to_target: answer
generation_kwargs:
  gen_length: 4
process_results: !function functions.process_results
metric_list:
  - metric: accuracy
    aggregation: !function functions.mean
    higher_is_better: true
metadata:
  version: 1.0
"""
FUNCTIONS = """
def doc_to_visual(doc):
    return []

def doc_to_text(doc):
    return doc["question"]

def process_results(doc, results):
    return {"accuracy": float(results[0][:1] == doc["answer"]), "extracted": results[0]}

def mean(items):
    return sum(items) / len(items)
"""


def write_task(folder: Path, samples: int) -> None:
    """A task of so many short questions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    (folder / "lladav_soak.yaml").write_text(YAML)
    (folder / "functions.py").write_text(FUNCTIONS)
    rows = {
        "question": [f"Question {row}: which letter is right? {'Think well. ' * 8}" for row in range(samples)],
        "answer": ["ABCD"[row % 4] for row in range(samples)],
    }
    pq.write_table(pa.table(rows), folder / "rows.parquet")


class FakeModel:
    """Answers by a hash of the question, fails one question in a thousand, and notes memory on the way."""

    name = "soak"
    fingerprint = "soak-1"

    def __init__(self, asked: Path) -> None:
        self.asked = asked
        self.given = 0

    def description(self) -> dict[str, Any]:
        return {"dtype": "none", "device": "cpu"}

    def answer(self, questions: Sequence[Any]) -> list[Any]:
        from lladav_eval.records import Generation

        write_asked(self.asked, [f"{question.task} {question.doc_id}" for question in questions])
        answers = []
        for question in questions:
            digest = hashlib.sha256(question.request.text.encode()).digest()
            if digest[0] == 0 and digest[1] < 64:
                answers.append(Generation.failure("the fake model fails now and then"))
            else:
                answers.append(Generation("ABCD"[digest[2] % 4] + " because" * 4, tuple(digest[:8]), 4, "length"))
        before, self.given = self.given, self.given + len(questions)
        for mark in (1_000, 10_000, 100_000):
            if before < mark <= self.given:
                self.note(mark)
        return answers

    def note(self, mark: int) -> None:
        """Resident memory now, in bytes."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        with (self.asked.parent / "memory").open("a") as file:
            file.write(json.dumps({"samples": mark, "bytes": pages * resource.getpagesize(), "at": time.time()}) + "\n")


def use_fake(tasks: Path, asked: Path) -> None:
    """Put the task and the model into a session's process, which also notes its peak of memory when it ends well."""
    import types

    from lladav_eval.cli import main
    from lladav_eval.runs import tasks as tasks_module

    tasks_module.tasks_dir = lambda: tasks
    module = types.ModuleType("lladav_eval.adapters.models")
    vars(module).update(resolve_model=lambda *_, **__: FakeModel(asked), AVAILABLE={})
    sys.modules["lladav_eval.adapters.models"] = module
    invoke = main.invoke

    def noted(arguments: Sequence[str] | None = None) -> int:
        code = invoke(arguments)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        (asked.parent / "peak").write_text(str(peak))
        return code

    main.invoke = noted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--growth", type=int, default=1000, help="bytes a sample that memory may grow by")
    arguments = parser.parse_args()
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["LMMS_EVAL_DATASETS_CACHE"] = str(folder / "cache")
        write_task(folder / "tasks", arguments.samples)
        words = ["run", "--task", "lladav_soak", "--model", "soak", "--batch-size", str(arguments.batch_size)]
        words += ["--max-failures", "1%"]
        prepare = functools.partial(use_fake, folder / "tasks")
        began = time.perf_counter()
        signals = [int(signal.SIGKILL)]
        result = play(folder, words, prepare, arguments.kills, signals, arguments.batch_size, 0)
        seconds = time.perf_counter() - began
        marks = [json.loads(line) for line in (folder / "whole" / "memory").read_text().splitlines()]
        memory = {str(mark["samples"]): round(mark["bytes"] / 1e6, 1) for mark in marks}
        peaks = {part: round(int((folder / part / "peak").read_text()) / 1e6, 1) for part in ("whole", "broken")}
    if len(marks) > 1:
        growth = (marks[-1]["bytes"] - marks[0]["bytes"]) / (marks[-1]["samples"] - marks[0]["samples"])
        if growth > arguments.growth:
            result["problems"].append(f"memory grows by {growth:.0f} bytes a sample")
        result["growth_bytes_per_sample"] = round(growth)
    for problem in result["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    result.update(megabytes_at=memory, peak_megabytes=peaks, seconds=round(seconds))
    print(json.dumps({"benchmark": "soak", **result}))
    sys.exit(1 if result["problems"] else 0)


if __name__ == "__main__":
    main()
