"""Samples per second of pocket and of its autoregressive twin, batch by batch in turn, on the pocket benchmarks.

    python benchmarks/twins.py [--rows N] [--rounds N] [--threads N]

`make compare` shows the same from two runs, one after the other, which on a busy machine compares the machine with
itself. Here both answer the same rows in one process; a round is one batch of each, first one, then the other, and the
order changes every round. Shown is the median; the ratio is of the two times of one round. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from lladav_eval.adapters.models import resolve_model
from lladav_eval.records import Question, RunSpec
from lladav_eval.runs.questions import build, plan_task
from lladav_eval.runs.tasks import load_tasks, resolve_tasks

NAMES = ("pocket", "pocket-ar")


def questions(task: str, rows: int) -> list[Question]:
    spec = RunSpec(tasks=(task,), model="pocket", limit=rows)
    plan = plan_task(task, load_tasks([task])[task], spec)
    items = [build(plan, row, "") for row in range(plan.count)]
    return [item.question for item in items if item.question is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64, help="rows of a batch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models = {name: resolve_model(name, "cpu", batch_size=arguments.rows) for name in NAMES}
    result: dict[str, object] = {"benchmark": "twins", "torch": torch.__version__, **vars(arguments)}
    for task in resolve_tasks(["pocket"]):
        asked = questions(task, arguments.rows)
        times: dict[str, list[float]] = {name: [] for name in NAMES}
        for turn in range(arguments.rounds + 1):  # the first round warms up
            for name in NAMES if turn % 2 else NAMES[::-1]:
                begin = time.perf_counter()
                models[name].answer(asked)
                times[name].append(time.perf_counter() - begin)
        rates = {name: len(asked) / statistics.median(times[name][1:]) for name in NAMES}
        ratios = sorted(
            first / second for first, second in zip(times["pocket"][1:], times["pocket-ar"][1:], strict=True)
        )
        middle = statistics.median(ratios)
        result[task.removeprefix("lladav_")] = {
            **{name: round(rate, 1) for name, rate in rates.items()},
            "pocket_ar_speed": round(middle, 2),
            "range": [round(ratios[0], 2), round(ratios[-1], 2)],
        }
        print(
            f"{task.removeprefix('lladav_'):14} {len(asked)} rows   pocket {rates['pocket']:7.1f}/s   "
            f"pocket-ar {rates['pocket-ar']:7.1f}/s   pocket-ar is {middle:.2f}x as fast "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
