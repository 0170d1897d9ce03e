"""dLLM-Cache against the recordings of the authors' cache hooks: the same tokens, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import test_golden
import torch
from test_golden import Golden, assert_recorded

from lladav_eval.model.lladav import BoundPrompts
from lladav_eval.records import SamplingParams
from lladav_eval.sampling.loop import Sampled, sample

golden = test_golden.golden
CASES = 22


@pytest.fixture(scope="module")
def recorded(golden_dir: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((golden_dir / "dllm_cache.json").read_text(encoding="utf-8"))
    assert len(cases) == CASES
    return cases


def params_of(case: dict[str, Any]) -> SamplingParams:
    cache, kwargs = case["cache"], case["kwargs"]
    numbers = f"{cache['prompt_interval_steps']},{cache['gen_interval_steps']},{cache['transfer_ratio']}"
    return SamplingParams(kwargs["gen_length"], kwargs["block_length"], kwargs["steps"], cache=f"dllm:{numbers}")


def run(golden: Golden, cases: list[dict[str, Any]], params: SamplingParams) -> list[Sampled]:
    prompts = [golden.prompt_ids[case["prompt"]] for case in cases]
    bound = BoundPrompts(golden.model, prompts, [golden.visuals[case["prompt"]] for case in cases], [0] * len(cases))
    tokens = [golden.tokens(case) for case in cases]
    with torch.inference_mode():
        return sample(bound, prompts, params, tokens, record_trace=True)


@pytest.mark.parametrize("index", range(CASES))
def test_equals_the_recording(golden: Golden, recorded: list[dict[str, Any]], index: int) -> None:
    case = recorded[index]
    assert case["seed"] is None
    params = params_of(case)
    assert_recorded(run(golden, [case], params)[0], case, params)
