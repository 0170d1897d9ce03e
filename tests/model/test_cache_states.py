"""Stored states: every cache against its plain reference, token by token, and exact decoding left alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_cache import PlainCache
from plain_sampler import PlainResult, plain_sample
from small_model import random_model, small_config
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.cache import Part, SequenceStore
from lladav_eval.model.graphs import StepGraphs
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Query, Reuse, SamplingParams
from lladav_eval.sampling.loop import Sampled, SamplingTokens, sample

VOCABULARY, MASK_ID, SIZE = 40, 39, 16
CONFIG = small_config(SIZE, VOCABULARY, 64)
MODES = ("prefix:3", "dual:2", "dllm:5,3,0.5", "dllm:25,7,0.25", "dllm:3,4,0")
EVERY_STEP = ("prefix:1", "dual:1", "dllm:1,1,0.25")


def build(seed: int) -> LladavModel:
    return random_model(CONFIG, seed, 0.4)


@pytest.fixture(scope="module")
def model() -> LladavModel:
    return build(0)


@dataclasses.dataclass(frozen=True)
class Asked:
    """A prompt with its visual tokens."""

    ids: Tensor
    visuals: Tensor

    @classmethod
    def draw(cls, seed: int) -> Asked:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, MASK_ID, (5 + seed % 7,), generator=generator)
        visual = seed % 3
        ids[1 : 1 + visual] = IMAGE_PLACEHOLDER_ID
        return cls(ids, torch.randn(visual, SIZE, generator=generator))


def bind(model: LladavModel, batch: list[Asked]) -> BoundPrompts:
    return BoundPrompts(model, [one.ids for one in batch], [one.visuals for one in batch])


def run(model: LladavModel, batch: list[Asked], params: SamplingParams, suffix: tuple[int, ...] = ()) -> list[Sampled]:
    tokens = [SamplingTokens(MASK_ID, (MASK_ID,), suffix_ids=suffix)] * len(batch)
    bound = bind(model, batch)
    with torch.inference_mode():
        return sample(bound, bound.token_ids, params, tokens, record_trace=True)


def run_plainly(model: LladavModel, one: Asked, params: SamplingParams, suffix: tuple[int, ...] = ()) -> PlainResult:
    """The plain loop over the plain cache; with guidance it calls twice a step, and each branch has its own states."""
    assert params.cache is not None
    kind, _, numbers = params.cache.partition(":")
    bound = bind(model, [one])
    branches = 2 if params.cfg_scale else 1
    plain = [
        PlainCache(
            model,
            lambda ids: bound.embed([Query(0, ids, torch.empty(0))]),
            len(one.ids),
            params.block_length,
            kind,
            tuple(float(number) if "." in number else int(number) for number in numbers.split(",")),
        )
        for _ in range(branches)
    ]
    calls = 0

    def full_logits(ids: Tensor) -> Tensor:
        nonlocal calls
        step, branch = divmod(calls, branches)
        calls += 1
        block, in_block = divmod(step, params.steps_per_block)
        end = len(one.ids) + (block + 1) * params.block_length
        asked = (ids[:end] == MASK_ID).nonzero().flatten() if branch == 0 else torch.empty(0, dtype=torch.int64)
        return plain[branch].logits(ids, asked, block, in_block, step).float()

    with torch.inference_mode():
        return plain_sample(full_logits, one.ids.tolist(), params, MASK_ID, (MASK_ID,), (), suffix)


def least_by_the_book(similarity: Tensor, count: int) -> Tensor:
    """Values that didn't change tie, and the first are taken: a rule that the plain reference can follow as well."""
    return (similarity.double() * 1e5).round().sort(stable=True).indices[:count]


def assert_equal(ours: Sampled, plain: PlainResult) -> None:
    assert ours.error is None
    assert ours.trace is not None
    assert list(ours.token_ids) == plain.token_ids
    assert ours.forward_passes == plain.passes
    for step, wanted in zip(ours.trace, plain.steps, strict=True):
        assert (step.block, list(step.positions), list(step.token_ids)) == (
            wanted.block,
            wanted.positions,
            wanted.token_ids,
        )
        assert list(step.confidences) == pytest.approx(wanted.confidences, rel=1e-3)


caches = st.one_of(
    st.tuples(st.sampled_from(["prefix", "dual"]), st.integers(1, 6)).map(lambda pair: f"{pair[0]}:{pair[1]}"),
    st.tuples(st.integers(1, 7), st.integers(1, 5), st.sampled_from([0.0, 0.25, 0.4, 1.0])).map(
        lambda numbers: "dllm:" + ",".join(map(str, numbers))
    ),
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    caches,
    st.integers(1, 3),
    st.integers(1, 6),
    st.data(),
    st.sampled_from([0.0, 0.0, 0.5]),
    st.sampled_from([(), (7,), (7, 3)]),
)
def test_equals_the_plain_reference_alone_and_in_a_batch(
    cache: str, blocks: int, length: int, data: st.DataObject, cfg_scale: float, suffix: tuple[int, ...]
) -> None:
    steps = data.draw(st.integers(1, length))
    params = SamplingParams(blocks * length, length, blocks * steps, cfg_scale=cfg_scale, cache=cache)
    model = build(data.draw(st.integers(0, 20)))
    batch = [Asked.draw(seed) for seed in data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=3))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lladav_eval.model.cache.least", least_by_the_book)
        answers = run(model, batch, params, suffix)
    for one, ours in zip(batch, answers, strict=True):
        assert_equal(ours, run_plainly(model, one, params, suffix))


@pytest.mark.parametrize("cache", MODES)
def test_a_batch_of_different_samples_changes_nothing(model: LladavModel, cache: str) -> None:
    params = SamplingParams(12, 4, 12, cache=cache)
    batch = [Asked.draw(seed) for seed in (3, 8, 13, 19)]
    alone = [run(model, [one], params)[0].token_ids for one in batch]
    assert [ours.token_ids for ours in run(model, batch, params)] == alone
    assert [ours.token_ids for ours in run(model, batch[::-1], params)] == alone[::-1]


@pytest.mark.parametrize("cfg_scale", [0.0, 0.5])
@pytest.mark.parametrize("cache", EVERY_STEP)
def test_recomputing_every_step_is_exact(model: LladavModel, cache: str, cfg_scale: float) -> None:
    exact = SamplingParams(12, 4, 12, cfg_scale=cfg_scale)
    batch = [Asked.draw(seed) for seed in range(6)]
    ours = run(model, batch, dataclasses.replace(exact, cache=cache))
    for approximate, wanted in zip(ours, run(model, batch, exact), strict=True):
        assert approximate.token_ids == wanted.token_ids
        assert approximate.forward_passes == wanted.forward_passes


@pytest.mark.parametrize("cache", MODES)
def test_the_cache_is_really_used(model: LladavModel, cache: str) -> None:
    """Or the tests above would compare exact decoding with itself."""
    batch = [Asked.draw(seed) for seed in range(6)]
    exact = SamplingParams(16, 16, 16)
    with_cache = run(model, batch, dataclasses.replace(exact, cache=cache))
    assert [ours.trace for ours in with_cache] != [ours.trace for ours in run(model, batch, exact)]


def test_masks_in_the_prompt_are_filled_too(model: LladavModel) -> None:
    for cache in MODES:
        filled = set()
        for seed in range(0, 15, 3):
            ids = Asked.draw(seed).ids.clone()
            ids[-2] = MASK_ID
            (ours,) = run(model, [Asked(ids, torch.zeros(0, SIZE))], SamplingParams(8, 8, 8, cache=cache))
            filled |= {position for step in ours.trace or () for position in step.positions}
        assert -2 in filled


def test_exact_decoding_never_touches_the_cache(model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("cache code ran")

    for name in ("_reusing", "_store"):
        monkeypatch.setattr(BoundPrompts, name, refuse)
    for name in ("Part", "SequenceStore", "mix_stored", "run_holding", "reusing_flops"):
        monkeypatch.setattr(f"lladav_eval.model.bound.{name}", refuse)
    monkeypatch.setattr("lladav_eval.sampling.loop.Moment", refuse)
    bound = bind(model, [Asked.draw(1)])
    seen: list[Query] = []

    def denoise(queries: Any) -> list[Tensor]:
        seen.extend(queries)
        return bound(queries)

    sample(denoise, bound.token_ids, SamplingParams(8, 4, 8, cfg_scale=0.5), [SamplingTokens(MASK_ID)])
    assert len(seen) == 16
    assert all(query.reuse is None for query in seen)
    assert bound.stores == {}
    with pytest.raises(AssertionError, match="cache code ran"):
        sample(bound, bound.token_ids, SamplingParams(8, 4, 8, cache="dllm"), [SamplingTokens(MASK_ID)])


@pytest.mark.parametrize("cache", MODES)
@pytest.mark.parametrize("graphs", [False, True])
def test_flops_equal_the_flop_counter(monkeypatch: pytest.MonkeyPatch, cache: str, graphs: bool) -> None:
    model = build(0)
    model.cuda_graphs = graphs
    monkeypatch.setattr(StepGraphs, "run", lambda self, key, x, build: build()(x))  # what a graph would compute
    bound = bind(model, [Asked.draw(4), Asked.draw(9)])
    with torch.inference_mode(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        sample(bound, bound.token_ids, SamplingParams(8, 4, 8, cache=cache), [SamplingTokens(MASK_ID)] * 2)
    assert sum(bound.flops) == pytest.approx(counter.get_total_flops(), rel=1e-9)


def test_cached_steps_cost_less(model: LladavModel) -> None:
    costs = {}
    for cache in (None, *MODES):
        bound = bind(model, [Asked.draw(6)])
        sample(bound, bound.token_ids, SamplingParams(8, 8, 8, cache=cache), [SamplingTokens(MASK_ID)])
        costs[cache] = bound.flops[0]
    assert all(costs[cache] < costs[None] for cache in MODES)


def test_guidance_has_a_store_for_each_branch(model: LladavModel) -> None:
    bound = bind(model, [Asked.draw(1), Asked.draw(2)])
    params = SamplingParams(4, 4, 4, cfg_scale=1.0, cache="dllm")
    sample(bound, bound.token_ids, params, [SamplingTokens(MASK_ID)] * 2)
    assert sorted(bound.stores) == [(0, False), (0, True), (1, False), (1, True)]
    bound.release(0)
    assert sorted(bound.stores) == [(1, False), (1, True)]


def test_wrong_queries_are_refused(model: LladavModel) -> None:
    bound, some = bind(model, [Asked.draw(0)]), torch.arange(2)
    ids, nothing = torch.arange(6), torch.empty(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="first query"):
        bound([Query(0, ids, some, Reuse(some, nothing))])
    whole = Query(0, ids, some, Reuse(torch.arange(6), nothing))
    with pytest.raises(ValueError, match="can't share"):
        bound([whole, Query(0, ids, some)])
    store = SequenceStore.empty(CONFIG, 6, 2, model.lm_head.weight)
    with pytest.raises(ValueError, match="need a state"):
        Part.build(Query(0, ids, torch.tensor([5]), Reuse(some, nothing)), store, 0, model.device)
    with pytest.raises(ValueError, match="fresh together"):
        Part.build(Query(0, ids, some, Reuse(some, torch.arange(1, 4))), store, 0, model.device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("cache", MODES)
@pytest.mark.parametrize("graphs", [False, True])
def test_cuda_equals_cpu(cache: str, graphs: bool) -> None:
    params, batch = SamplingParams(12, 4, 12, cache=cache), [Asked.draw(seed) for seed in range(4)]
    here = run(build(0), batch, params)
    model = build(0).to("cuda")
    model.cuda_graphs = graphs
    there = run(model, [dataclasses.replace(one, visuals=one.visuals.to("cuda")) for one in batch], params)
    assert [ours.token_ids for ours in there] == [ours.token_ids for ours in here]
