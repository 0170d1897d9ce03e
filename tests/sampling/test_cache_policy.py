"""What the cache policies decide, by hand-written examples."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from toy_model import MASK_ID, ToyModel

from lladav_eval.records import Query, SamplingParams
from lladav_eval.sampling.cache import CachePolicy, Moment, cache_policy
from lladav_eval.sampling.loop import SamplingTokens, sample


def policy(cache: str) -> CachePolicy:
    found = cache_policy(SamplingParams(8, 4, 8, cache=cache))
    assert found is not None
    return found


def moment(step: int = 1, in_block: int = 1, asked: tuple[int, ...] = (5, 7), block: int = 0) -> Moment:
    """A prompt of 4, an answer of 8 in blocks of 4, a suffix of 2."""
    start = 4 + 4 * block
    return Moment(torch.tensor(asked), 4, start, start + 4, 14, in_block, step)


def test_exact_has_no_policy() -> None:
    assert cache_policy(SamplingParams(8, 4, 8)) is None


@pytest.mark.parametrize("cache", ["prefix:3", "dual:3"])
def test_a_block_begins_with_a_whole_pass_and_is_refreshed(cache: str) -> None:
    for in_block in range(7):
        fresh = policy(cache).reuse(moment(9 + in_block, in_block)).fresh.tolist()
        assert (fresh == list(range(14))) == (in_block in (0, 3, 6))


def test_prefix_computes_the_block_and_what_follows() -> None:
    reuse = policy("prefix").reuse(moment(block=1, asked=(9, 10)))
    assert reuse.fresh.tolist() == list(range(8, 14))
    assert (len(reuse.held), reuse.transfers) == (0, 0)


def test_dual_computes_the_block_alone() -> None:
    assert policy("dual").reuse(moment()).fresh.tolist() == [4, 5, 6, 7]
    assert policy("dual").reuse(moment(asked=(1, 5, 10))).fresh.tolist() == [1, 4, 5, 6, 7, 10]


def test_dllm_has_two_clocks() -> None:
    for step in range(13):
        reuse = policy("dllm:6,4,0.25").reuse(moment(step))
        prompt, answer = step % 6 == 0, step % 4 == 0
        assert reuse.fresh.tolist() == [*range(4 * prompt), *range(4, 4 + 10 * answer)]
        assert reuse.held.tolist() == list(range(4, 14))
        assert reuse.transfers == (0 if answer else 2)  # a quarter of ten positions, rounded down


def test_dllm_computes_masks_of_the_prompt_that_are_asked_about() -> None:
    assert policy("dllm:9,9,0.5").reuse(moment(asked=(2, 5))).fresh.tolist() == [2]


def test_the_loop_counts_steps_of_the_block_and_of_the_sample() -> None:
    model = ToyModel()
    params = SamplingParams(8, 4, 6, cache="prefix:2")
    sample(model.renamed([0]), [torch.tensor([1, 2])], params, [SamplingTokens(MASK_ID, (6, 7, 8))])
    assert [_fresh(query) for (query,) in model.calls] == [10, 8, 10, 10, 4, 10]
    model = ToyModel()
    params = dataclasses.replace(params, cache="dllm:4,3,0")
    sample(model.renamed([0]), [torch.tensor([1, 2])], params, [SamplingTokens(MASK_ID, (6, 7, 8))])
    assert [_fresh(query) for (query,) in model.calls] == [10, 0, 0, 8, 2, 0]


def _fresh(query: Query) -> int:
    assert query.reuse is not None
    return len(query.reuse.fresh)


def test_guidance_marks_the_branch_without_prompt() -> None:
    model = ToyModel()
    params = SamplingParams(4, 4, 2, cfg_scale=1.0, cache="dual")
    sample(model.renamed([0]), [torch.tensor([1])], params, [SamplingTokens(MASK_ID)])
    for with_prompt, without in model.calls:
        assert with_prompt.reuse is not None
        assert without.reuse is not None
        assert (with_prompt.reuse.unconditional, without.reuse.unconditional) == (False, True)
        assert with_prompt.reuse.fresh.tolist() == without.reuse.fresh.tolist()
