"""Times the embedded suite at batch size 1 against batch size auto, in one process, with the same answers.

    python benchmarks/batching.py                  # every task, 100 rows each, 3 interleaved pairs
    python benchmarks/batching.py --limit 4 --pairs 1

Questions are made before the clock starts; decoding of images and video frames is inside it. Answers must be equal
token by token, or the script fails. Samples a second are medians over pairs. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence

import torch

from lladav_eval import LladaV, Request, SamplingParams, load
from lladav_eval.pocket.data import GEN_LENGTH, TASKS
from lladav_eval.pocket.evaluate import request_of, rows_of


def timed(
    model: LladaV, requests: Sequence[Request], params: SamplingParams, batch_size: int | None
) -> tuple[float, list[tuple[int, ...]]]:
    """Seconds, and the answers' tokens."""
    start = time.perf_counter()
    answers = model.generate(requests, params, batch_size=batch_size)
    return time.perf_counter() - start, [answer.token_ids for answer in answers]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=100, help="rows of each task")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    model = load("pocket", device="cpu", dtype="float32")
    rows, totals = [], {"one": [0.0] * options.pairs, "auto": [0.0] * options.pairs}
    for task in TASKS:
        requests = [request_of(row) for row in rows_of(task)[: options.limit]]
        length = GEN_LENGTH[task]
        params = SamplingParams(length, length, length)
        seconds: dict[str, list[float]] = {"one": [], "auto": []}
        answers = set()
        model.generate(requests[:8], params)  # warm: kernels, caches
        for pair in range(options.pairs):
            for name in ("one", "auto") if pair % 2 == 0 else ("auto", "one"):
                spent, tokens = timed(model, requests, params, 1 if name == "one" else None)
                seconds[name].append(spent)
                totals[name][pair] += spent
                answers.add(tuple(tokens))
        if len(answers) != 1:
            raise SystemExit(f"{task}: the answers differ between batch sizes; that is a bug, not a benchmark")
        rate = {name: len(requests) / statistics.median(spent) for name, spent in seconds.items()}
        rows.append({"task": task, "n": len(requests), **{name: round(value, 1) for name, value in rate.items()}})
        rows[-1]["ratio"] = round(rate["auto"] / rate["one"], 2)
        print(json.dumps(rows[-1]), flush=True)
    ratios = [one / auto for one, auto in zip(totals["one"], totals["auto"], strict=True)]
    result = {
        "benchmark": "batching",
        "threads": options.threads,
        "torch": torch.__version__,
        "unit": "samples a second",
        "tasks": rows,
        "suite_ratio": round(statistics.median(ratios), 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
