"""Times our generation against the plain reference loop of the tests, on the same random weights.

    python benchmarks/generation.py                        # a few steps of each setting, in interleaved pairs
    python benchmarks/generation.py --full                 # every step (the plain side of 96/96/48 takes a while)
    python benchmarks/generation.py --threads 1 --prompt-length 1000
    python benchmarks/generation.py --small --pairs 1      # a check of the script itself, in seconds

The plain loop (tests/plain_sampler.py) computes logits and a float64 softmax for every position at every step, as the
authors' code does, with the matrix products that torch itself takes on a CPU; ours asks only where a mask can still be
filled, keeps what doesn't change in the first layer, and takes oneDNN's products (model/kernels.py). Both run in one
process on one set of weights, a medium LLaDA (hidden 512, 8 layers, 8 heads, intermediate 1536, vocabulary 126,464)
with a prompt of random ids; both must fill the same positions with the same tokens, or the script fails. --same-kernels
gives oneDNN's products to the plain side too.

Much of the plain loop's time is the operating system's, which hands its 10 GB out anew at every step; that part varies
a lot between machines and hours. THP_MEM_ALLOC_ENABLE=1 in the environment makes it small on both sides, by huge pages.

Unless --full is given, both sides are stopped after --steps-limit steps and the whole generation is the first step plus
the later steps' median times their number (ours asks for less at later steps: no favour to us).

Seconds are medians over pairs. Peak memory is that of a fresh process per side (VmHWM of /proc/self/status, elsewhere
ru_maxrss), which loads the weights from a checkpoint in the temporary directory, as every run does, and takes the first
step, the largest. Achieved GFLOP/s counts matrix products and attention (model/flops.py) and is set against a float32
matrix product (4096 x 4096) timed in the same process: torch's own, and oneDNN's. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from plain_sampler import plain_sample
from random_model import MEDIUM, SMALL, Size, build_model, config_of, random_prompt

from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.checkpoint import load_model
from lladav_eval.model.kernels import linear
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import Query, SamplingParams
from lladav_eval.sampling.loop import SamplingTokens, sample


class Enough(Exception):
    """Ends our loop after the steps that are timed."""


@dataclass
class Meter:
    """A ``Denoise`` that notes when each step begins and stops after ``limit`` of them."""

    bound: BoundPrompts
    limit: int
    starts: list[float] = field(default_factory=list)
    ids: Tensor | None = None
    """The ids of the query after the last one answered."""

    def __call__(self, queries: Sequence[Query]) -> list[Tensor]:
        self.starts.append(time.perf_counter())
        if len(self.starts) > self.limit:
            self.ids = queries[0].token_ids
            raise Enough
        return self.bound(queries)


@dataclass
class Side:
    """One timed run."""

    steps: list[float]
    """Seconds of each step."""
    answer: list[int]
    """Ids of the answer positions after the steps that were run."""
    flops: float

    @property
    def seconds(self) -> float:
        return sum(self.steps)

    def whole(self, steps: int) -> float:
        """Seconds of a generation of so many steps, of which these are the first."""
        later = self.steps[1:] or self.steps
        return self.seconds + (steps - len(self.steps)) * statistics.median(later)


@contextmanager
def usual_kernels() -> Iterator[None]:
    """What torch computes with by itself, as the authors' code does; ours takes oneDNN where that is faster."""
    torch.backends.mkldnn.set_flags(False)
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(True)


def run_plain(model: LladavModel, size: Size, prompt: Tensor, params: SamplingParams, steps: int) -> Side:
    meter = Meter(BoundPrompts(model, [prompt], [torch.zeros(0, size.hidden)]), sys.maxsize)
    meter.bound.first_layer.suits = lambda *_: False  # type: ignore[method-assign]

    def full_logits(ids: Tensor) -> Tensor:
        return meter([Query(0, ids, torch.arange(len(ids)))])[0]

    kernels = nullcontext() if OPTIONS.same_kernels else usual_kernels()
    with torch.no_grad(), kernels:
        result = plain_sample(full_logits, prompt.tolist(), params, size.mask_id, size.forbidden_ids, steps_limit=steps)
    ended = time.perf_counter()
    answer = [size.mask_id] * params.gen_length
    for step in result.steps:
        for position, token in zip(step.positions, step.token_ids, strict=True):
            answer[position] = token
    return Side(durations(meter, ended), answer, meter.bound.flops[0])


def run_ours(model: LladavModel, size: Size, prompt: Tensor, params: SamplingParams, steps: int) -> Side:
    meter = Meter(BoundPrompts(model, [prompt], [torch.zeros(0, size.hidden)]), steps)
    tokens = SamplingTokens(size.mask_id, size.forbidden_ids)
    try:
        answer = list(sample(meter, [prompt], params, [tokens])[0].token_ids)
    except Enough:
        assert meter.ids is not None
        answer = meter.ids[len(prompt) :].tolist()
    return Side(durations(meter, time.perf_counter()), answer, meter.bound.flops[0])


def durations(meter: Meter, ended: float) -> list[float]:
    """Seconds of each step, from its question to the next step's or to the end."""
    starts = meter.starts if len(meter.starts) > meter.limit else [*meter.starts, ended]
    return [after - before for before, after in pairwise(starts)]


OPTIONS = argparse.Namespace(same_kernels=False)

SIDES = {"plain": run_plain, "ours": run_ours}


@torch.inference_mode()
def matmul_peaks(width: int = 4096, repeats: int = 5) -> tuple[float, float]:
    """Best GFLOP/s of a float32 matrix product, by torch itself and by model/kernels.py."""
    left, right = torch.randn(width, width), torch.randn(width, width)
    best = [float("inf"), float("inf")]
    sides: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (torch.matmul, linear)
    for _ in range(repeats):
        for side, multiply in enumerate(sides):
            start = time.perf_counter()
            multiply(left, right)
            best[side] = min(best[side], time.perf_counter() - start)
    usual, fast = (2 * width**3 / seconds / 1e9 for seconds in best)
    return usual, fast


def peak_memory_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def memory_of(side: str, setting: str, weights: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Peak memory of one step of ``side`` in a process of its own, with the checkpoint in ``weights``."""
    command = [sys.executable, __file__, "--measure-memory", side, str(weights), "--settings", setting]
    command += ["--prompt-length", str(arguments.prompt_length), "--threads", str(arguments.threads)]
    command += ["--small"] if arguments.small else []
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


def parse_setting(text: str) -> SamplingParams:
    gen_length, block_length, steps = (int(number) for number in text.split("/"))
    return SamplingParams(gen_length, block_length, steps)


def time_setting(
    model: LladavModel, size: Size, prompt: Tensor, setting: str, weights: Path | None, options: argparse.Namespace
) -> Any:
    """One row of the result: interleaved pairs, the order swapped every time. Memory where ``weights`` are on disk."""
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
        row[f"{name}_seconds"] = round(statistics.median(run.whole(params.steps) for run in timed), 3)
        row[f"{name}_gflops"] = round(timed[0].flops / seconds / 1e9, 1)
    pairs = list(zip(runs["plain"], runs["ours"], strict=True))
    ratios = [plain.whole(params.steps) / ours.whole(params.steps) for plain, ours in pairs]
    row["ratio"] = round(statistics.median(ratios), 2)
    row["ratio_lowest"], row["ratio_highest"] = round(min(ratios), 2), round(max(ratios), 2)
    if weights is not None:
        memory = {name: memory_of(name, setting, weights, options) for name in runs}
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
    parser.add_argument(
        "--settings", default="2/2/2,16/16/16,32/32/16,96/96/48", help="gen_length/block_length/steps, ..."
    )
    parser.add_argument("--pairs", type=int, default=3, help="how often both sides are timed")
    parser.add_argument("--steps-limit", type=int, default=3, help="steps timed of each generation")
    parser.add_argument("--full", action="store_true", help="time every step; nothing is extrapolated")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--prompt-length", type=int, default=None, help="3600, or 200 with --small")
    parser.add_argument("--same-kernels", action="store_true", help="oneDNN's products on the plain side too")
    parser.add_argument("--small", action="store_true", help="a tiny model, to check this script")
    parser.add_argument("--no-memory", action="store_true", help="skip the fresh processes that measure memory")
    parser.add_argument("--measure-memory", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.pairs < 1 or options.steps_limit < 1:
        parser.error("--pairs and --steps-limit must be at least 1")
    if options.prompt_length is None:
        options.prompt_length = 200 if options.small else 3600
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    OPTIONS.same_kernels = options.same_kernels
    torch.set_num_threads(options.threads)
    size = SMALL if options.small else MEDIUM
    prompt, settings = random_prompt(size, options.prompt_length), options.settings.split(",")
    if options.measure_memory:
        side, folder = options.measure_memory
        model = load_model(Path(folder), config_of(size), size.vocabulary, torch.device("cpu"), torch.float32)
        loaded = peak_memory_mb()
        SIDES[side](model, size, prompt, parse_setting(settings[0]), 1)
        print(json.dumps({"loaded_mb": loaded, "peak_mb": peak_memory_mb()}))
        return
    model = build_model(size)
    before = matmul_peaks()
    rows = []
    with nullcontext() if options.no_memory else tempfile.TemporaryDirectory() as folder:
        if folder is not None:
            save_file(model.state_dict(), Path(folder) / "model.safetensors")
        for setting in settings:
            rows.append(time_setting(model, size, prompt, setting, Path(folder) if folder else None, options))
            print_row(rows[-1])
    usual, fast = (max(*both) for both in zip(before, matmul_peaks(), strict=True))
    for row in rows:
        row["ours_share_of_torch_peak"] = round(row["ours_gflops"] / usual, 3)
        row["ours_share_of_onednn_peak"] = round(row["ours_gflops"] / fast, 3)
    result = {
        "benchmark": "generation",
        "threads": options.threads,
        "prompt_length": options.prompt_length,
        "model": "small" if options.small else "medium",
        "torch": torch.__version__,
        "matmul_gflops": round(usual, 1),
        "onednn_matmul_gflops": round(fast, 1),
        "same_kernels": options.same_kernels,
        "memory": "VmHWM of a fresh process per side: checkpoint loaded, first step taken",
        "settings": rows,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
