"""dLLM-Cache against the recordings of the authors' cache hooks: the same tokens, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import test_golden
import torch
from test_golden import Golden, assert_recorded

from lladav_eval.model.bound import BoundPrompts
from lladav_eval.records import SamplingParams
from lladav_eval.sampling.loop import Sampled, sample

golden = test_golden.golden
CASES = 22
TIED = (1, 2, 8, 19)
"""Cases in which positions whose values didn't change compete for the transfers of a layer, so that the last bits of
their cosines decide."""
CERTAIN_STEPS = 3
"""What is sure of them on processors without AVX2, which add in another order."""


@pytest.fixture(scope="module")
def recorded(golden_dir: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((golden_dir / "dllm_cache.json").read_text(encoding="utf-8"))
    assert len(cases) == CASES
    return cases


FURTHER = Path(__file__).parents[1] / "golden" / "dllm_cache_further.json"
"""Random settings, answered by the authors' code with torch's AVX2 kernels on the same weights and prompts."""


def params_of(case: dict[str, Any]) -> SamplingParams:
    cache, kwargs = case["cache"], case["kwargs"]
    names = ("prompt_interval_steps", "gen_interval_steps", "transfer_ratio")
    numbers = ",".join(map(str, cache if isinstance(cache, list) else (cache[name] for name in names)))
    return SamplingParams(kwargs["gen_length"], kwargs["block_length"], kwargs["steps"], cache=f"dllm:{numbers}")


def run(golden: Golden, cases: list[dict[str, Any]], params: SamplingParams) -> list[Sampled]:
    prompts = [golden.prompt_ids[case["prompt"]] for case in cases]
    bound = BoundPrompts(golden.model, prompts, [golden.visuals[case["prompt"]] for case in cases])
    tokens = [golden.tokens(case) for case in cases]
    with torch.inference_mode():
        return sample(bound, prompts, params, tokens, record_trace=True)


@pytest.mark.parametrize("index", range(CASES))
def test_equals_the_recording(golden: Golden, recorded: list[dict[str, Any]], index: int) -> None:
    case = recorded[index]
    assert case["seed"] is None
    params = params_of(case)
    (ours,) = run(golden, [case], params)
    if index not in TIED or "AVX" in torch.backends.cpu.get_cpu_capability():
        assert_recorded(ours, case, params)
    assert ours.trace is not None
    for step, wanted in zip(ours.trace[:CERTAIN_STEPS], case["steps"], strict=False):
        assert (list(step.positions), list(step.token_ids)) == (wanted["pos_rel"], wanted["tokens"])


@pytest.mark.skipif(
    "AVX" not in torch.backends.cpu.get_cpu_capability(), reason="without AVX2 last bits differ, and ties with them"
)
def test_further_settings(golden: Golden) -> None:
    cases = json.loads(FURTHER.read_text(encoding="utf-8"))
    assert len(cases) == 60
    wrong = []
    for number, case in enumerate(cases):
        (ours,) = run(golden, [case], params_of(case))
        if (list(ours.token_ids), ours.forward_passes) != (case["output_ids"], case["n_forwards"]):
            wrong.append(number)
    assert wrong == []


def test_a_batch_equals_the_recordings(golden: Golden, recorded: list[dict[str, Any]]) -> None:
    """Different prompts and visuals in one batch, each as recorded alone."""
    cases = [recorded[6], recorded[7]]
    params = params_of(cases[0])
    assert params == params_of(cases[1])
    for case, ours in zip(cases, run(golden, cases, params), strict=True):
        assert_recorded(ours, case, params)
