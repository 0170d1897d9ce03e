"""dLLM-Cache against the recordings of the authors' cache hooks: the same tokens, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import test_golden
import torch
from recorded import recorded
from test_golden import Golden, assert_recorded

golden = test_golden.golden
CASES: list[dict[str, Any]] = list(recorded("dllm_cache.json"))
TIED = (1, 2, 8, 19)
"""Cases in which positions whose values didn't change compete for the transfers of a layer, so that the last bits of
their cosines decide."""
CERTAIN_STEPS = 3
"""What is sure of them on processors without AVX2, which add in another order."""


FURTHER = Path(__file__).parents[1] / "golden" / "dllm_cache_further.json"
"""Random settings, answered by the authors' code with torch's AVX2 kernels on the same weights and prompts."""


@pytest.mark.parametrize("index", range(len(CASES)))
def test_equals_the_recording(golden: Golden, index: int) -> None:
    case = CASES[index]
    (ours,) = golden.run([case])
    if index not in TIED or "AVX" in torch.backends.cpu.get_cpu_capability():
        assert_recorded(ours, case, golden.params(case))
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
        (ours,) = golden.run([case])
        if (list(ours.token_ids), ours.forward_passes) != (case["output_ids"], case["n_forwards"]):
            wrong.append(number)
    assert wrong == []


def test_a_batch_equals_the_recordings(golden: Golden) -> None:
    """Different prompts and visuals in one batch, each as recorded alone."""
    cases = [CASES[6], CASES[7]]
    params = golden.params(cases[0])
    assert params == golden.params(cases[1])
    for case, ours in zip(cases, golden.run(cases), strict=True):
        assert_recorded(ours, case, params)
