"""Times our generation against the plain reference loop of the tests, on the same random weights.

    python benchmarks/generation.py                        # 2 steps of each setting, in interleaved pairs
    python benchmarks/generation.py --full                 # every step (the plain side of 96/96/48 takes a while)
    python benchmarks/generation.py --small --pairs 1      # a check of the script itself, in seconds

The plain loop (tests/plain_sampler.py) computes logits and a float64 softmax for every position at every step, as the
authors' code does; ours asks only where a mask can still be filled. Both run on one process and one set of weights,
a medium LLaDA (hidden 512, 8 layers, 8 heads, intermediate 1536, vocabulary 126,464) with a prompt of random ids; both
must fill the same positions with the same tokens, or the script fails. Unless --full is given, both are stopped after
--steps-limit steps and the whole generation is extrapolated (ours asks for less at later steps: no favour to us).

Seconds are medians over pairs. Peak memory is that of a fresh process per side (VmHWM of /proc/self/status, elsewhere
ru_maxrss), which loads the weights and takes the first step, the largest. Achieved GFLOP/s counts the multiply-adds
of matrix products and attention, twice each:

    layer: 2 T (2 D D) keys, values + 2 n (2 D D + 3 D I) queries, output, feed-forward + 4 n T D attention
    head:  2 n D V          with n = T positions in plain layers and head, n = asked ones in our last layer and head

and is set against a float32 matrix product (4096 x 4096) timed in the same process. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from plain_sampler import plain_sample

from lladav_eval.model.config import ModelConfig, VisionConfig
from lladav_eval.model.lladav import BoundPrompts, LladavModel
from lladav_eval.records import Query, SamplingParams
from lladav_eval.sampling.loop import SamplingTokens, sample


@dataclass(frozen=True)
class Size:
    """What is timed."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    mask_id: int
    forbidden_ids: tuple[int, ...]


MEDIUM = Size(512, 8, 8, 1536, 126464, 126336, (126081, 126080, 126346, 126347))
SMALL = Size(64, 2, 2, 128, 2000, 1999, (1, 2))


class Enough(Exception):
    """Ends our loop after the steps that are timed."""


@dataclass
class Meter:
    """A ``Denoise`` that counts arithmetic and stops after ``limit`` calls."""

    bound: BoundPrompts
    limit: int
    calls: int = 0
    flops: int = 0
    asked: list[int] = field(default_factory=list)
    ids: Tensor | None = None
    """The ids of the query after the last one answered."""

    def __call__(self, queries: Sequence[Query]) -> list[Tensor]:
        if self.calls == self.limit:
            self.ids = queries[0].token_ids
            raise Enough
        self.calls += 1
        for query in queries:
            self.flops += forward_flops(self.bound.model.config, len(query.token_ids), len(query.positions))
            self.asked.append(len(query.positions))
        return self.bound(queries)


def forward_flops(config: ModelConfig, length: int, asked: int) -> int:
    """Floating point operations of one forward pass; see the formula at the top."""
    size, inner = config.hidden_size, config.intermediate_size

    def layer(queries: int) -> int:
        projections = 2 * length * 2 * size * size + 2 * queries * (2 * size * size + 3 * size * inner)
        return projections + 4 * queries * length * size

    head = 2 * asked * size * config.vocab_size
    return (config.num_hidden_layers - 1) * layer(length) + layer(asked) + head


def build_model(size: Size) -> LladavModel:
    """Random weights; the tower is a token one, for no image is shown."""
    torch.manual_seed(0)
    vision = VisionConfig(8, 8, 2, 1, 28, 14)
    config = ModelConfig(
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        vocab_size=size.vocabulary,
        max_position_embeddings=8192,
        rms_norm_eps=1e-6,
        rope_theta=500000.0,
        attention_bias=False,
        causal=False,
        vision=vision,
        projector_depth=2,
        image_aspect_ratio="anyres_max_4",
        image_grid_pinpoints=((28, 28),),
        max_tiles=4,
        max_length=8192,
    )
    return LladavModel(config).requires_grad_(False).eval()


def random_prompt(size: Size, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, min(size.vocabulary, size.mask_id) - 1, (length,), generator=generator)


@dataclass
class Side:
    """One timed run."""

    seconds: float
    answer: list[int]
    """Ids of the answer positions after the steps that were run."""
    flops: int
    asked: list[int]


@contextmanager
def usual_kernels() -> Iterator[None]:
    """What torch computes with by itself, as the authors' code does; ours takes oneDNN where that is faster."""
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True


def run_plain(model: LladavModel, size: Size, prompt: Tensor, params: SamplingParams, steps: int) -> Side:
    meter = Meter(BoundPrompts(model, [prompt], [torch.zeros(0, size.hidden)]), sys.maxsize)

    def full_logits(ids: Tensor) -> Tensor:
        return meter([Query(0, ids, torch.arange(len(ids)))])[0]

    start = time.perf_counter()
    with torch.no_grad(), usual_kernels():
        result = plain_sample(full_logits, prompt.tolist(), params, size.mask_id, size.forbidden_ids, steps_limit=steps)
    seconds = time.perf_counter() - start
    answer = [size.mask_id] * params.gen_length
    for step in result.steps:
        for position, token in zip(step.positions, step.token_ids, strict=True):
            answer[position] = token
    return Side(seconds, answer, meter.flops, meter.asked)


def run_ours(model: LladavModel, size: Size, prompt: Tensor, params: SamplingParams, steps: int) -> Side:
    meter = Meter(BoundPrompts(model, [prompt], [torch.zeros(0, size.hidden)]), steps)
    tokens = SamplingTokens(size.mask_id, size.forbidden_ids)
    start = time.perf_counter()
    try:
        answer = list(sample(meter, [prompt], params, [tokens])[0].token_ids)
    except Enough:
        assert meter.ids is not None
        answer = meter.ids[len(prompt) :].tolist()
    return Side(time.perf_counter() - start, answer, meter.flops, meter.asked)


SIDES = {"plain": run_plain, "ours": run_ours}


def matmul_peak(width: int = 4096, repeats: int = 5) -> float:
    """Best GFLOP/s of a float32 matrix product."""
    left, right = torch.randn(width, width), torch.randn(width, width)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * width**3 / best / 1e9


def peak_memory_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def memory_of(side: str, setting: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Peak memory of one step of ``side`` in a process of its own."""
    command = [sys.executable, __file__, "--measure-memory", side, "--settings", setting]
    command += ["--prompt-length", str(arguments.prompt_length), "--threads", str(arguments.threads)]
    command += ["--small"] if arguments.small else []
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


def parse_setting(text: str) -> SamplingParams:
    gen_length, block_length, steps = (int(number) for number in text.split("/"))
    return SamplingParams(gen_length, block_length, steps)


def time_setting(model: LladavModel, size: Size, prompt: Tensor, setting: str, options: argparse.Namespace) -> Any:
    """One row of the result: interleaved pairs, the order swapped every time."""
    params = parse_setting(setting)
    steps = params.steps if options.full else min(params.steps, options.steps_limit)
    runs: dict[str, list[Side]] = {"plain": [], "ours": []}
    for pair in range(options.pairs):
        for side in ("plain", "ours") if pair % 2 == 0 else ("ours", "plain"):
            runs[side].append(SIDES[side](model, size, prompt, params, steps))
    answers = {tuple(run.answer) for timed in runs.values() for run in timed}
    if len(answers) != 1:
        raise SystemExit(f"{setting}: the two sides filled different tokens; that is a bug, not a benchmark")
    row: dict[str, Any] = {
        "setting": setting,
        "pairs": options.pairs,
        "steps_timed": steps,
        "steps": params.steps,
        "extrapolated": steps < params.steps,
        "identical_tokens": True,
        "tokens_compared": sum(token != size.mask_id for token in answers.pop()),
    }
    for name, timed in runs.items():
        seconds = statistics.median(run.seconds for run in timed)
        row[f"{name}_seconds_timed"] = round(seconds, 4)
        row[f"{name}_seconds"] = round(seconds * params.steps / steps, 3)
        row[f"{name}_gflops"] = round(timed[0].flops / seconds / 1e9, 1)
    ratios = [plain.seconds / ours.seconds for plain, ours in zip(runs["plain"], runs["ours"], strict=True)]
    row["ratio"] = round(statistics.median(ratios), 2)
    if not options.no_memory:
        memory = {name: memory_of(name, setting, options) for name in runs}
        for name, measured in memory.items():
            row[f"{name}_peak_mb"] = round(measured["peak_mb"])
            row[f"{name}_loaded_mb"] = round(measured["loaded_mb"])
        row["memory_share"] = round(memory["ours"]["peak_mb"] / memory["plain"]["peak_mb"], 3)
    return row


def print_row(row: dict[str, Any]) -> None:
    whole = " (extrapolated)" if row["extrapolated"] else ""
    print(
        f"{row['setting']:>10}  plain {row['plain_seconds']:.2f} s  ours {row['ours_seconds']:.2f} s{whole}  "
        f"ratio {row['ratio']:.2f}  GFLOP/s {row['plain_gflops']:.0f} and {row['ours_gflops']:.0f}"
        + (f"  peak MB {row['plain_peak_mb']} and {row['ours_peak_mb']}" if "plain_peak_mb" in row else ""),
        flush=True,
    )


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--settings", default="2/2/2,32/32/16,96/96/48", help="gen_length/block_length/steps, ...")
    parser.add_argument("--pairs", type=int, default=3, help="how often both sides are timed")
    parser.add_argument("--steps-limit", type=int, default=2, help="steps timed of each generation")
    parser.add_argument("--full", action="store_true", help="time every step; nothing is extrapolated")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--prompt-length", type=int, default=None, help="3600, or 200 with --small")
    parser.add_argument("--small", action="store_true", help="a tiny model, to check this script")
    parser.add_argument("--no-memory", action="store_true", help="skip the fresh processes that measure memory")
    parser.add_argument("--measure-memory", choices=sorted(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.pairs < 1 or options.steps_limit < 1:
        parser.error("--pairs and --steps-limit must be at least 1")
    if options.prompt_length is None:
        options.prompt_length = 200 if options.small else 3600
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    size = SMALL if options.small else MEDIUM
    model, prompt = build_model(size), random_prompt(size, options.prompt_length)
    settings = options.settings.split(",")
    if options.measure_memory:
        loaded = peak_memory_mb()
        SIDES[options.measure_memory](model, size, prompt, parse_setting(settings[0]), 1)
        print(json.dumps({"loaded_mb": loaded, "peak_mb": peak_memory_mb()}))
        return
    before = matmul_peak()
    rows = []
    for setting in settings:
        rows.append(time_setting(model, size, prompt, setting, options))
        print_row(rows[-1])
    peak = max(before, matmul_peak())
    for row in rows:
        row["ours_share_of_peak"] = round(row["ours_gflops"] / peak, 3)
    result = {
        "benchmark": "generation",
        "threads": options.threads,
        "prompt_length": options.prompt_length,
        "model": "small" if options.small else "medium",
        "torch": torch.__version__,
        "matmul_gflops": round(peak, 1),
        "memory": "VmHWM of a fresh process per side: weights loaded, first step taken",
        "settings": rows,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
