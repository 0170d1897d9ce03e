"""How far `lladav-eval plan` is off on this machine: estimated seconds against measured ones.

    python benchmarks/plan.py [--threads N] [--limit N] [--repeats N]

The embedded suite (all tasks, at the batch size that the plan chooses) and a medium LLaDA-V with random weights
(hidden 512, 8 layers, vocabulary 126,464) at prompts of 1,000 and 3,600 positions, exact and with a prefix cache. The
machine is measured anew before each, as its speed drifts. Measured is what answering takes, without loading and
scoring; ``model`` is the part of it that the plan estimates, which leaves out what waits for media being decoded. The
last line is JSON: ratio = estimated / measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import lladav_eval
from lladav_eval.cli.quiet import quiet_libraries
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.config import ModelConfig, parse_config
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.memory import PromptSize
from lladav_eval.model.official import OFFICIAL_FIELDS
from lladav_eval.planning.estimate import estimate
from lladav_eval.planning.hardware import measure
from lladav_eval.planning.models import find_sizes
from lladav_eval.planning.workload import Workload, workload
from lladav_eval.records import Generation, RunSpec, SamplingParams
from lladav_eval.runs.questions import build, plan_task
from lladav_eval.runs.tasks import load_tasks, resolve_tasks
from lladav_eval.sampling.loop import SamplingTokens, sample

CPU = torch.device("cpu")
MEDIUM = {
    **OFFICIAL_FIELDS,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_attention_heads": 8,
    "num_hidden_layers": 8,
    "num_key_value_heads": 8,
}
SETTINGS = (
    (1000, SamplingParams(16, 16, 16)),
    (3600, SamplingParams(2, 2, 2)),
    (3600, SamplingParams(32, 32, 16, cache="prefix")),
)


def seconds(work: Callable[[], list[Generation] | None], repeats: int) -> tuple[float, float]:
    """Median of several runs, and of the model's share in them, all of it where ``work`` gives no generations."""
    found, model = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        answers = work()
        found.append(time.perf_counter() - started)
        model.append(found[-1] if answers is None else sum(answer.seconds for answer in answers))
    return statistics.median(found), statistics.median(model)


def compare(
    work: Workload, config: ModelConfig, vocabulary: int, run: Callable[[int], tuple[float, float]]
) -> dict[str, Any]:
    """Plan, then run at the plan's batch size: ``run`` gives the whole time and the model's."""
    plan = estimate(work, config, vocabulary, measure(CPU, torch.float32), torch.float32)
    assert plan.seconds is not None
    measured, model = run(plan.batch_size)
    line = {
        "what": work.task,
        "rows": work.rows,
        "batch_size": plan.batch_size,
        "bound": plan.bound,
        "estimated": round(plan.seconds, 2),
        "measured": round(measured, 2),
        "model": round(model, 2),
        "ratio": round(plan.seconds / measured, 2),
    }
    print(line, flush=True)
    return line


def pocket(limit: int | None, repeats: int) -> list[dict[str, Any]]:
    """The embedded suite."""
    quiet_libraries(offline=True)
    spec = RunSpec(tasks=resolve_tasks(["pocket"]), model="pocket", limit=limit)
    sizes, model = find_sizes("pocket"), lladav_eval.load("pocket", device="cpu")
    tasks = load_tasks(spec.tasks)
    lines = []
    for name in spec.tasks:
        plan = plan_task(name, tasks[name], spec)
        items = [build(plan, row, "bench") for row in range(plan.count)]
        requests = [item.question.request for item in items if item.question is not None]

        def run(
            batch: int, requests: Any = requests, params: SamplingParams = plan.settings.params
        ) -> tuple[float, float]:
            return seconds(lambda: model.generate(requests, params, batch_size=batch), repeats)

        work = workload(spec, name, sizes.config, sizes.tokenizer, 100)
        lines.append(compare(work, sizes.config, sizes.vocabulary, run))
    return lines


def medium(repeats: int) -> list[dict[str, Any]]:
    """Random weights at sizes where matrix products decide."""
    torch.manual_seed(0)
    config = parse_config(MEDIUM)
    model = LladavModel(config).eval()
    lines = []
    for length, params in SETTINGS:
        prompt = torch.randint(0, 126000, (length,))
        name = f"medium, prompt {length}, {params.gen_length}/{params.block_length}/{params.steps} {params.cache or ''}"

        def run(batch: int, prompt: torch.Tensor = prompt, params: SamplingParams = params) -> tuple[float, float]:
            tokens = [SamplingTokens(126336, (126081, 126080, 126346, 126347))] * batch

            def answer() -> None:
                empty = [torch.zeros(0, config.hidden_size)] * batch
                sample(BoundPrompts(model, [prompt] * batch, empty), [prompt] * batch, params, tokens)

            with torch.inference_mode():
                return seconds(answer, repeats)

        work = Workload(name.strip(), 1, (PromptSize(length),), params, assumed=False)
        lines.append(compare(work, config, config.vocab_size, run))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, help="first rows of every pocket task")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    suite, sized = pocket(arguments.limit, arguments.repeats), medium(arguments.repeats)
    totals = {key: round(sum(line[key] for line in suite), 1) for key in ("estimated", "measured", "model")}
    result = {
        "pocket_suite": totals,
        "pocket_suite_ratio": round(totals["estimated"] / totals["measured"], 2),
        "pocket_suite_model_ratio": round(totals["estimated"] / totals["model"], 2),
        "medium_ratios": [line["ratio"] for line in sized],
        "threads": arguments.threads,
        "torch": torch.__version__,
        "tasks": suite + sized,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
