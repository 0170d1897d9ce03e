"""Score a pocket checkpoint on the shipped rows, through the product: ``lladav_eval.load(DIR).generate``.

    python -m lladav_eval.pocket.evaluate --model DIR [--tasks digits,counts] [--curve]

Prints one JSON line per task: n, accuracy, 95 % interval (Wilson), forward passes and seconds per sample.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from statsmodels.stats.proportion import proportion_confint

from lladav_eval import LladaV, Request, SamplingParams, load
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.pocket import tasks
from lladav_eval.pocket.data import FRAMES_SEEN, GEN_LENGTH, TASKS
from lladav_eval.processing.prompt import prepare
from lladav_eval.records import Query

Row = dict[str, Any]
_SCORERS: dict[str, Callable[[Row, list[str]], dict[str, Any]]] = {
    "choice": tasks.process_choice,
    "yesno": tasks.process_yes_no,
    "chart": tasks.process_relaxed,
}
CURVE_STEPS = (1, 2, 4, 8, 16)


def rows_of(task: str) -> list[Row]:
    """The shipped test rows of a task."""
    frame = pd.read_parquet(tasks.data_directory() / f"{task}.parquet")
    rows: list[Row] = frame.to_dict("records")
    return rows


def request_of(row: Row) -> Request:
    """The request that the task's YAML makes of a row."""
    if "video" in row:
        return Request(row["question"], video=tasks.doc_to_video(row)[0], mode="no_think", num_frames=len(FRAMES_SEEN))
    return Request(row["question"], images=tuple(tasks.doc_to_images(row)), mode="no_think")


def scores(model: LladaV, task: str, rows: Sequence[Row], steps: int | None = None) -> tuple[list[float], Row]:
    """Score of every row (0 or 1), and what the answers cost on average."""
    length = GEN_LENGTH[task]
    params = SamplingParams(gen_length=length, block_length=length, steps=steps or length)
    generations = model.generate([request_of(row) for row in rows], params)
    score = _SCORERS.get(task, tasks.process_exact)
    values = [score(row, [g.text])["accuracy"]["score"] for row, g in zip(rows, generations, strict=True)]
    cost = {
        "forward_passes": round(sum(g.forward_passes for g in generations) / len(rows), 2),
        "seconds": round(sum(g.seconds for g in generations) / len(rows), 4),
        "failed": sum(g.status == "failed" for g in generations),
    }
    return values, cost


def summary(values: Sequence[float]) -> Row:
    """n, accuracy and its 95 % Wilson interval, in per cent."""
    low, high = proportion_confint(int(sum(values)), len(values), method="wilson")
    return {
        "n": len(values),
        "accuracy": round(100 * sum(values) / len(values), 1),
        "interval": [round(100 * low, 1), round(100 * high, 1)],
    }


def context_accuracy(model: LladaV, rows: Sequence[Row], places: Sequence[int], seed: int = 0) -> dict[str, float]:
    """How often one masked answer token is right when the rest of the answer is true, someone else's, or masked too.

    A diffusion model that reads its own partial answer does best with the true rest; one that ignores it scores alike
    in all three, and then no curve over steps means anything.

    Args:
        model: a diffusion checkpoint.
        rows: rows of one task whose answers have equally many tokens.
        places: answer positions to ask for, each with everything else given.
        seed: of the shuffle.
    """
    answers = torch.tensor([model.tokenizer.encode(row["answer"]) for row in rows])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    masked = torch.full_like(answers, model.tokenizer.mask_id)
    with torch.inference_mode():
        prompts = [prepare(request_of(row), model.tokenizer, model.config) for row in rows]
        bound = BoundPrompts.bind(model.model, prompts)
        right = {}
        for name, context in (("true", answers), ("shuffled", answers[order]), ("masked", masked)):
            hits = 0
            for place in places:
                given = context.clone()
                given[:, place] = model.tokenizer.mask_id
                queries = [
                    Query(index, torch.cat((ids, given[index])), torch.tensor([len(ids) + place]))
                    for index, ids in enumerate(bound.token_ids)
                ]
                best = torch.cat(bound(queries)).argmax(-1).cpu()
                hits += int((best == answers[:, place]).sum())
            right[name] = hits / (len(rows) * len(places))
    return right


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Score a pocket checkpoint on the shipped rows.")
    parser.add_argument("--model", required=True, help="checkpoint directory, or pocket, or pocket-ar")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--curve", action="store_true", help="also the counts task over denoising steps, and contexts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load(arguments.model, dtype="float32")
    for task in arguments.tasks.split(","):
        values, cost = scores(model, task, rows_of(task))
        print(json.dumps({"task": task, **summary(values), **cost}), flush=True)
    if arguments.curve and not model.config.causal:
        rows = rows_of("counts")
        for steps in CURVE_STEPS:
            print(json.dumps({"task": "counts", "steps": steps, **summary(scores(model, "counts", rows, steps)[0])}))
        contexts = context_accuracy(model, rows, places=(3, 5, 7, 9, 11, 13, 15))
        print(json.dumps({"counts_context": {name: round(100 * value, 1) for name, value in contexts.items()}}))


if __name__ == "__main__":
    main()
