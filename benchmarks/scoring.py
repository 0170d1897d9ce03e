"""Rows scored per second: ours, under both protocols, against lmms-eval's own process_results on the same rows.

    python benchmarks/scoring.py [--predictions DIR] [--repeats N]

Both are timed in this process, one after the other, best of N. With --predictions, a folder of published answers in
the layout of ../shared/predictions gives the rows and texts (17,997 of SEED-Bench, 8,910 of POPE); without it, as many
made-up ones. Ours scores every answer twice (official and strict); lmms-eval once, by its only rule. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lladav_eval.scoring.registry import get_scorer

Rows = list[dict[str, Any]]
FILES = {
    "seedbench": ("data/lmms-lab-encoder/SEED-Bench/test.jsonl", "seedbench/GPT-4V.jsonl"),
    "pope": ("data/lmms-lab-encoder/POPE/test.jsonl", "pope/llava-v1.5-13b.jsonl"),
}


def lines(path: Path) -> Rows:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def published(folder: Path, family: str) -> tuple[Rows, list[str]]:
    """Rows and answers of a published file."""
    rows, answers = (folder / name for name in FILES[family])
    ordered = sorted(lines(answers), key=lambda line: line["doc_id"])
    return lines(rows), [line["prediction"] for line in ordered]


def made_up(family: str) -> tuple[Rows, list[str]]:
    """As many rows as the benchmark has, and answers like a model's: mostly plain, some wordy, a few empty."""
    rng = random.Random(0)
    if family == "seedbench":
        rows: Rows = [
            {
                "question_id": str(place),
                "answer": rng.choice("ABCD"),
                "data_type": "image" if place < 14240 else "video",
            }
            for place in range(17997)
        ]
        said = [*"ABCDABCDABCD", "(B)", "C. two", "The answer is D", ""]
    else:
        rows = [
            {
                "question_id": str(place),
                "answer": rng.choice(("yes", "no")),
                "category": ("adversarial", "popular", "random")[place // 2970],
            }
            for place in range(8910)
        ]
        said = [*("Yes", "No") * 6, "Yes, there is.", "no.", "There is no dog.", ""]
    return rows, [rng.choice(said) for _ in rows]


def ours(family: str, rows: Rows, texts: list[str]) -> Callable[[], None]:
    score = get_scorer(family).score

    def run() -> None:
        for place, row in enumerate(rows):
            score(row, texts[place], "official", place)
            score(row, texts[place], "strict", place)

    return run


def theirs(family: str, rows: Rows, texts: list[str]) -> Callable[[], None]:
    if family == "seedbench":
        from lmms_eval.tasks.seedbench.utils import seed_process_result as process
    else:
        from lmms_eval.tasks.pope.utils import pope_process_results as process

    def run() -> None:
        for place, row in enumerate(rows):
            process(row, [texts[place]])

    return run


def best(run: Callable[[], None], repeats: int) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=Path, help="folder of published answers; default: made-up ones")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "benchmark": "scoring",
        "answers": "published" if arguments.predictions else "made up",
        "python": platform.python_version(),
        "protocols": ["official", "strict"],
    }
    for family in FILES:
        rows, texts = published(arguments.predictions, family) if arguments.predictions else made_up(family)
        count = len(rows)
        mine, other = (best(make(family, rows, texts), arguments.repeats) for make in (ours, theirs))
        result[family] = {
            "rows": count,
            "ours_rows_per_second": round(count / mine),
            "lmms_eval_rows_per_second": round(count / other),
            "ratio": round(other / mine, 2),
        }
        print(
            f"{family:10} {count:6} rows   ours (both protocols) {count / mine:12,.0f} rows/s   "
            f"lmms-eval process_results {count / other:12,.0f} rows/s   {other / mine:.2f}x"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
