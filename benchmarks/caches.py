"""Times every approximate mode against exact decoding and the plain loop, and scores each on the pocket suite.

    python benchmarks/caches.py                           # the medium random model, then the pocket suite
    python benchmarks/caches.py --small --pairs 1         # a check of the script itself, in seconds
    python benchmarks/caches.py --only pocket             # accuracy, forward passes and samples a second

First part: one prompt of random ids on the medium model of benchmarks/random_model.py. A mode and exact decoding run
every step, alternating in one process; the ratio is the median over pairs. The plain loop is stopped after
--plain-steps steps and extrapolated (its steps all cost the same). The answers of approximate modes may differ: the
share of equal tokens is only printed, never judged.

Second part, if the embedded checkpoint is there: each task of the pocket suite under each mode, through
``LladaV.generate``; accuracy with its 95 % Wilson interval, forward passes a sample, samples a second. Random weights
say nothing about accuracy, which is why the two parts are separate. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from generation import parse_setting, run_plain
from random_model import MEDIUM, SMALL, Size, build_model, random_prompt
from torch import Tensor

from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import SamplingParams
from lladav_eval.sampling.loop import Sampled, SamplingTokens, sample

MODES: dict[str, dict[str, Any]] = {
    "prefix": {"cache": "prefix"},
    "prefix, refreshed every 8": {"cache": "prefix:8"},
    "dual": {"cache": "dual"},
    "dllm": {"cache": "dllm"},
    "threshold 0.9": {"threshold": 0.9},
    "prophet": {"early_commit": "prophet"},
    "prefix and threshold 0.9": {"cache": "prefix", "threshold": 0.9},
}
ONCE_A_BLOCK: dict[str, dict[str, Any]] = {
    "prefix, one whole pass a block": {"cache": "prefix:1000"},
    "dual, one whole pass a block": {"cache": "dual:1000"},
}
"""On the pocket suite, whose blocks have 16 steps at most, these would be "prefix" and "dual" again."""


def run_ours(model: LladavModel, size: Size, prompt: Tensor, params: SamplingParams) -> tuple[float, Sampled, float]:
    """Seconds, answer and floating-point operations of one whole generation."""
    bound = BoundPrompts(model, [prompt], [torch.zeros(0, size.hidden)])
    start = time.perf_counter()
    with torch.inference_mode():
        (answer,) = sample(bound, [prompt], params, [SamplingTokens(size.mask_id, size.forbidden_ids)])
    return time.perf_counter() - start, answer, bound.flops[0]


def time_mode(
    model: LladavModel, size: Size, prompt: Tensor, exact: SamplingParams, change: dict[str, Any], pairs: int
) -> dict[str, Any]:
    """One mode beside exact decoding, the order swapped from pair to pair."""
    params = dataclasses.replace(exact, **change)
    runs: dict[bool, list[tuple[float, Sampled, float]]] = {True: [], False: []}
    for pair in range(pairs):
        for approximate in (True, False) if pair % 2 else (False, True):
            runs[approximate].append(run_ours(model, size, prompt, params if approximate else exact))
    (_, ours, flops), (_, truth, exact_flops) = runs[True][0], runs[False][0]
    equal = sum(a == b for a, b in zip(ours.token_ids, truth.token_ids, strict=False))
    return {
        "seconds": round(statistics.median(run[0] for run in runs[True]), 4),
        "exact_seconds": round(statistics.median(run[0] for run in runs[False]), 4),
        "times_exact": round(statistics.median(b[0] / a[0] for a, b in zip(runs[True], runs[False], strict=True)), 2),
        "flops_share": round(flops / exact_flops, 4),
        "forward_passes": ours.forward_passes,
        "equal_tokens": f"{equal}/{len(truth.token_ids)}",
    }


def time_modes(options: argparse.Namespace) -> list[dict[str, Any]]:
    size = SMALL if options.small else MEDIUM
    model = build_model(size)
    prompt = random_prompt(size, options.prompt_length)
    rows = []
    for setting in options.settings.split(","):
        exact = parse_setting(setting)
        steps = min(options.plain_steps, exact.steps)
        plain = run_plain(model, size, prompt, exact, steps).whole(exact.steps) if steps else None
        for name, change in {**MODES, **ONCE_A_BLOCK}.items():
            row = {"setting": setting, "mode": name, **time_mode(model, size, prompt, exact, change, options.pairs)}
            if plain is not None:
                row |= {"plain_seconds": round(plain, 3), "times_plain": round(plain / row["seconds"], 1)}
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def score_modes(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Accuracy of every mode on the pocket suite; empty, and said so, without the checkpoint."""
    from lladav_eval import load
    from lladav_eval.errors import EvalError
    from lladav_eval.pocket.data import GEN_LENGTH, TASKS
    from lladav_eval.pocket.evaluate import _SCORERS as scorers
    from lladav_eval.pocket.evaluate import request_of, rows_of, summary
    from lladav_eval.pocket.tasks import process_exact

    try:
        model = load("pocket", dtype="float32")
    except EvalError as error:
        print(f"no pocket suite: {error}", flush=True)
        return []
    results = []
    for task in TASKS:
        questions = rows_of(task)[: options.limit]
        requests = [request_of(question) for question in questions]
        length = GEN_LENGTH[task]
        for name, change in {"exact": {}, **MODES}.items():
            params = SamplingParams(length, length, length, **change)
            start = time.perf_counter()
            answers = model.generate(requests, params)
            seconds = time.perf_counter() - start
            score = scorers.get(task, process_exact)
            values = [score(row, [a.text])["accuracy"]["score"] for row, a in zip(questions, answers, strict=True)]
            result = {
                "task": task,
                "mode": name,
                **summary(values),
                "forward_passes": round(sum(answer.forward_passes for answer in answers) / len(answers), 2),
                "samples_a_second": round(len(answers) / seconds, 2),
                "failed": sum(answer.status == "failed" for answer in answers),
            }
            print(json.dumps(result), flush=True)
            results.append(result)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--settings", default="32/32/16,96/96/48", help="gen_length/block_length/steps, ...")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--plain-steps", type=int, default=3, help="steps of the plain loop; 0 leaves it out")
    parser.add_argument("--prompt-length", type=int, default=None, help="3600, or 200 with --small")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--limit", type=int, default=None, help="rows of each pocket task")
    parser.add_argument("--small", action="store_true", help="a tiny model and few rows, to check this script")
    parser.add_argument("--only", choices=["speed", "pocket"])
    options = parser.parse_args(arguments)
    if options.small:
        options.limit = options.limit or 4
    options.prompt_length = options.prompt_length or (200 if options.small else 3600)
    torch.set_num_threads(options.threads)
    result = {
        "benchmark": "caches",
        "model": "small" if options.small else "medium",
        "threads": options.threads,
        "prompt_length": options.prompt_length,
        "torch": torch.__version__,
        "speed": [] if options.only == "pocket" else time_modes(options),
        "pocket": [] if options.only == "speed" else score_modes(options),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
