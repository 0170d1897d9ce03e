"""Times ``--accelerate compile`` and ``--accelerate cuda-graphs`` against neither, by mode, in one process.

    python benchmarks/launching.py                  # on a GPU: the sizes of the 8B model, bfloat16
    python benchmarks/launching.py --size medium    # the model that benchmarks/generation.py times
    python benchmarks/launching.py --size small     # a check of the script itself, on any machine

One prompt of random ids, random weights, every step of the generation. All ways to launch a mode share the weights and
take turns; the first round, in which kernels are compiled, is not counted. ``equal_tokens`` is against neither: other
kernels round differently, so in bfloat16 some may differ. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from generation import parse_setting
from random_model import MEDIUM, SMALL, Size, build_model, random_prompt
from torch import Tensor

from lladav_eval.loading import DTYPES, choose_device, choose_dtype
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import SamplingParams
from lladav_eval.sampling.loop import SamplingTokens, sample

OFFICIAL = Size(4096, 32, 32, 12288, 126464, 126336, (126081, 126080, 126346, 126347))
SIZES = {"small": SMALL, "medium": MEDIUM, "official": OFFICIAL}
MODES = (None, "prefix", "dual", "dllm")


def models(size: Size, device: torch.device, dtype: torch.dtype) -> dict[str, LladavModel]:
    """The same weights, launched in every way that the device has."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with device:
        plain = build_model(size)
    torch.set_default_dtype(before)
    ways = {"neither": (False, False), "compile": (True, False)}
    if device.type == "cuda":
        ways |= {"cuda-graphs": (False, True), "both": (True, True)}
    found = {}
    for name, (compiled, graphs) in ways.items():
        with torch.device("meta"):
            other = build_model(size)
        other.load_state_dict(plain.state_dict(), assign=True)
        if compiled:
            other.compile_layers()
        other.cuda_graphs = graphs
        found[name] = other
    return found


def run(model: LladavModel, size: Size, prompt: Tensor, params: SamplingParams) -> tuple[float, tuple[int, ...]]:
    """Seconds and tokens of one generation."""
    visuals = torch.zeros(0, size.hidden, device=model.device, dtype=model.dtype)
    bound = BoundPrompts(model, [prompt], [visuals])
    start = time.perf_counter()
    with torch.inference_mode():
        (answer,) = sample(bound, [prompt], params, [SamplingTokens(size.mask_id, size.forbidden_ids)])
    return time.perf_counter() - start, answer.token_ids


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="official")
    parser.add_argument("--device", default=None, help="cuda, cpu ...; default: cuda if present")
    parser.add_argument("--dtype", choices=DTYPES, default=None)
    parser.add_argument("--settings", default="32/32/16,96/96/48", help="gen_length/block_length/steps, ...")
    parser.add_argument("--prompt-length", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    size, ways = SIZES[options.size], models(SIZES[options.size], device, choose_dtype(options.dtype, device))
    prompt = random_prompt(size, options.prompt_length)
    rows: list[dict[str, Any]] = []
    for setting in options.settings.split(","):
        exact = parse_setting(setting)
        for cache in MODES:
            params = SamplingParams(exact.gen_length, exact.block_length, exact.steps, cache=cache)
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            tokens: dict[str, tuple[int, ...]] = {}
            for round_ in range(options.rounds + 1):
                for name in ways if round_ % 2 else reversed(ways):
                    spent, tokens[name] = run(ways[name], size, prompt, params)
                    if round_:
                        seconds[name].append(spent)
            median = {name: statistics.median(spent) for name, spent in seconds.items()}
            for name in ways:
                equal = sum(a == b for a, b in zip(tokens[name], tokens["neither"], strict=True))
                rows.append({"setting": setting, "cache": cache or "none", "way": name})
                rows[-1] |= {"seconds": round(median[name], 4), "times": round(median["neither"] / median[name], 2)}
                rows[-1]["equal_tokens"] = f"{equal}/{len(tokens[name])}"
                print(json.dumps(rows[-1]), flush=True)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(json.dumps({"benchmark": "launching", "device": card, "torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
