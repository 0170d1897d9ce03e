"""The first layer's kept states of long prompts: the same answers, fewer operations, nothing kept where it can't be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack

import pytest
import torch
from plain_sampler import plain_sample
from small_model import random_model, small_config
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lladav_eval.model import first_layer, kernels
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.first_layer import MIN_PROMPT, FirstLayer
from lladav_eval.model.flops import kept_flops, query_flops
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Query, SamplingParams
from lladav_eval.sampling.loop import Sampled, SamplingTokens, sample

pytestmark = pytest.mark.skipif(
    not kernels._onednn(), reason="this processor has no AVX-512 (or this torch no oneDNN): nothing is ever kept"
)
VOCABULARY, MASK_ID, SIZE = 60, 59, 32
CONFIG = small_config(SIZE, VOCABULARY, 2048, attention_bias=True)
PARAMS = SamplingParams(12, 4, 12)
TOKENS = SamplingTokens(MASK_ID, (MASK_ID,))


def build(dtype: torch.dtype = torch.float32, **changes: object) -> LladavModel:
    return random_model(dataclasses.replace(CONFIG, **changes), 0, 0.3).to(dtype)


@pytest.fixture(scope="module")
def model() -> LladavModel:
    return build()


def prompt_ids(length: int, seed: int = 0) -> Tensor:
    return torch.randint(0, MASK_ID, (length,), generator=torch.Generator().manual_seed(seed))


class Watched:
    """A ``Denoise`` that keeps the queries, the logits and, after each call, which samples have kept states."""

    def __init__(self, model: LladavModel, prompts: Sequence[Tensor], visuals: Sequence[Tensor] | None = None) -> None:
        nothing = [torch.zeros(0, SIZE, dtype=model.dtype)] * len(prompts)
        self.bound = BoundPrompts(model, list(prompts), list(visuals or nothing))
        self.queries: list[Query] = []
        self.logits: list[Tensor] = []
        self.kept: list[list[int]] = []

    def __call__(self, queries: Sequence[Query]) -> list[Tensor]:
        logits = self.bound(queries)
        self.queries += queries
        self.logits += logits
        self.kept.append(sorted(self.bound.first_layer.kept))
        return logits

    def answer(self, params: SamplingParams = PARAMS, tokens: SamplingTokens = TOKENS) -> list[Sampled]:
        prompts = list(self.bound.token_ids)
        return sample(self, prompts, params, [tokens] * len(prompts), record_trace=True)


def assert_logits_are_those_without(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each query again, alone and with nothing kept."""
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(first_layer, "MIN_PROMPT", 10**9)
        fresh = BoundPrompts(watched.bound.model, watched.bound.token_ids, watched.bound.visuals)
        for query, logits in zip(watched.queries, watched.logits, strict=True):
            torch.testing.assert_close(logits, fresh([query])[0], rtol=1e-4, atol=1e-4)
        assert not fresh.first_layer.kept


def plainly(
    model: LladavModel, prompt: Tensor, params: SamplingParams = PARAMS, suffix: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """The plain sampler's answer, by torch's usual kernels, every position at every step."""
    bound = BoundPrompts(model, [prompt], [torch.zeros(0, SIZE)])

    def full_logits(ids: Tensor) -> Tensor:
        return bound([Query(0, ids, torch.arange(len(ids)))])[0]

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(first_layer, "MIN_PROMPT", 10**9)
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        found = plain_sample(full_logits, prompt.tolist(), params, MASK_ID, (MASK_ID,), (), suffix)
    assert not bound.first_layer.kept
    return tuple(found.token_ids)


@pytest.mark.parametrize("length", [MIN_PROMPT, MIN_PROMPT + 1, 700])
@pytest.mark.parametrize("params", [PARAMS, SamplingParams(16, 16, 6), SamplingParams(8, 4, 8, threshold=0.6)])
def test_every_step_and_the_answer_are_the_same(
    model: LladavModel, monkeypatch: pytest.MonkeyPatch, length: int, params: SamplingParams
) -> None:
    watched = Watched(model, [prompt_ids(length)])
    (ours,) = watched.answer(params)
    assert len(watched.kept) > 1
    assert all(kept == [0] for kept in watched.kept)
    assert_logits_are_those_without(watched, monkeypatch)
    if not params.approximate:
        assert ours.token_ids == plainly(model, prompt_ids(length), params)


def test_later_passes_really_read_what_was_kept(model: LladavModel) -> None:
    """Or the tests above would compare the usual way with itself."""
    watched = Watched(model, [prompt_ids(600)])
    query = Query(0, torch.cat((prompt_ids(600), torch.full((8,), MASK_ID))), torch.arange(600, 608))
    with torch.no_grad():
        before = watched([query])[0]
        watched.bound.first_layer.kept[0].mixed.neg_()
        assert not torch.allclose(before, watched([query])[0], atol=1e-2)


def test_prompts_of_different_lengths_in_one_batch(model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [prompt_ids(520, 1), prompt_ids(650, 2), prompt_ids(520, 3)]
    watched = Watched(model, prompts)
    answers = watched.answer()
    assert all(kept == [0, 1, 2] for kept in watched.kept)
    assert_logits_are_those_without(watched, monkeypatch)
    assert [ours.token_ids for ours in answers] == [plainly(model, prompt) for prompt in prompts]


def test_a_sample_that_joins_later(model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has kept states, the other not yet, in the same pass; then a short one joins, for which nothing is kept."""
    prompts = [prompt_ids(600, 1), prompt_ids(560, 2), prompt_ids(90, 3)]
    watched = Watched(model, prompts)
    first, second, short = (
        Query(name, torch.cat((prompt, torch.full((6,), MASK_ID))), torch.arange(len(prompt), len(prompt) + 6))
        for name, prompt in enumerate(prompts)
    )
    with torch.no_grad():
        for queries in ([first], [second, first], [short, first, second], [first, second]):
            watched(queries)
    assert watched.kept == [[0], [0, 1], [0, 1], [0, 1]]
    assert_logits_are_those_without(watched, monkeypatch)


def test_prompts_with_media_and_a_suffix(model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = prompt_ids(600)
    ids[20:500] = IMAGE_PLACEHOLDER_ID
    visuals = torch.randn(480, SIZE, generator=torch.Generator().manual_seed(5))
    watched = Watched(model, [ids], [visuals])
    watched.answer(tokens=SamplingTokens(MASK_ID, (MASK_ID,), suffix_ids=(7, 3)))
    assert all(kept == [0] for kept in watched.kept)
    assert_logits_are_those_without(watched, monkeypatch)
    text = prompt_ids(600)
    (ours,) = Watched(model, [text]).answer(tokens=SamplingTokens(MASK_ID, (MASK_ID,), suffix_ids=(7, 3)))
    assert ours.token_ids == plainly(model, text, suffix=(7, 3))


def test_masks_in_the_prompt_end_it_once_they_are_filled(model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = prompt_ids(600)
    ids[[5, 300, 599]] = MASK_ID
    watched = Watched(model, [ids])
    counted: list[bool] = []
    real = BoundPrompts._first_layer

    def noted(self: BoundPrompts, queries: Sequence[Query], lengths: Sequence[int]) -> object:
        found = real(self, queries, lengths)
        counted.append(found is not None)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(BoundPrompts, "_first_layer", noted)
        (ours,) = watched.answer()
    changed = [not torch.equal(query.token_ids[:600], ids) for query in watched.queries]
    assert True in changed
    assert False in changed
    assert counted == [not was for was in changed]
    assert_logits_are_those_without(watched, monkeypatch)
    assert ours.token_ids == plainly(model, ids)


def test_guidance_masks_the_prompt_and_keeps_nothing(model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
    params = dataclasses.replace(PARAMS, cfg_scale=0.5)
    prompts = [prompt_ids(520, 1), prompt_ids(640, 2)]
    watched = Watched(model, prompts)
    answers = watched.answer(params)
    assert not any(watched.kept)
    assert_logits_are_those_without(watched, monkeypatch)
    assert [ours.token_ids for ours in answers] == [plainly(model, prompt, params) for prompt in prompts]


@pytest.mark.parametrize("cache", ["prefix", "dual", "dllm"])
def test_approximate_modes_keep_their_own_states_only(model: LladavModel, cache: str) -> None:
    watched = Watched(model, [prompt_ids(600)])
    watched.answer(dataclasses.replace(PARAMS, cache=cache))
    assert not any(watched.kept)


class TestNothingIsKept:
    @pytest.mark.parametrize(
        ("changes", "length"),
        [
            ({}, MIN_PROMPT - 1),
            ({"dtype": torch.bfloat16}, 600),
            ({"dtype": torch.float16}, 600),
            ({"num_hidden_layers": 1}, 600),
        ],
    )
    def test_by(self, changes: dict[str, object], length: int) -> None:
        watched = Watched(build(**changes), [prompt_ids(length)])
        watched.answer()
        assert len(watched.kept) > 1
        assert not any(watched.kept)

    def test_beside_a_short_prompt(self, model: LladavModel) -> None:
        watched = Watched(model, [prompt_ids(600), prompt_ids(100)])
        long, short = watched.answer()
        assert not any(watched.kept)
        assert long.token_ids == plainly(model, prompt_ids(600))
        assert short.token_ids == plainly(model, prompt_ids(100))

    def test_beyond_the_bytes(self, model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
        needed = 4 * SIZE * 600
        for most, count, kept in ((needed, 1, [0]), (needed - 1, 1, []), (needed, 2, []), (2 * needed, 2, [0, 1])):
            monkeypatch.setattr(first_layer, "MAX_BYTES", most)
            watched = Watched(model, [prompt_ids(600, seed) for seed in range(count)])
            watched.answer()
            assert all(found == kept for found in watched.kept)

    def test_the_bound_covers_what_is_kept(self, model: LladavModel) -> None:
        watched = Watched(model, [prompt_ids(600)])
        watched.answer()
        (states,) = watched.bound.first_layer.kept.values()
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for tensor in (getattr(states, field.name) for field in dataclasses.fields(states))
        }
        # The logarithms, one number for each head and position, are the little that the bound leaves out.
        assert sum(storages.values()) <= 4 * (SIZE + CONFIG.num_attention_heads) * 600

    def test_where_the_kernels_are_not_used(self, model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
        weight = model.lm_head.weight
        assert not FirstLayer.suits(weight, [600], CONFIG)  # gradients are wanted here
        with torch.no_grad():
            assert FirstLayer.suits(weight, [600], CONFIG)
            assert not FirstLayer.suits(weight, [], CONFIG)
            monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
            assert not FirstLayer.suits(weight, [600], CONFIG)


def test_release_forgets_and_the_number_is_used_again(model: LladavModel, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(model, [prompt_ids(600, 1), prompt_ids(560, 2)])
    watched.answer()
    bound = watched.bound
    assert sorted(bound.first_layer.kept) == [0, 1]
    bound.release(0)
    assert sorted(bound.first_layer.kept) == [1]
    assert bound._put(prompt_ids(600, 3), torch.zeros(0, SIZE), 0.0) == 0
    watched.queries, watched.logits, other = [], [], prompt_ids(600, 3)
    with torch.no_grad():
        watched([Query(0, torch.cat((other, torch.full((4,), MASK_ID))), torch.arange(600, 604))])
    assert sorted(bound.first_layer.kept) == [0, 1]
    assert_logits_are_those_without(watched, monkeypatch)


class TestFlops:
    @staticmethod
    def counted(bound: BoundPrompts, queries: Sequence[Query]) -> float:
        """What torch counts of a pass; it knows formulas for MKL's products, not for oneDNN's."""
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(kernels, "_product", torch.nn.functional.linear)
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            counter = stack.enter_context(FlopCounterMode(display=False))
            stack.enter_context(torch.no_grad())
            bound(queries)
        return float(counter.get_total_flops())

    @pytest.mark.parametrize("lengths", [(600,), (700, 520)])
    def test_equal_torchs_counter(
        self, model: LladavModel, monkeypatch: pytest.MonkeyPatch, lengths: tuple[int, ...]
    ) -> None:
        prompts = [prompt_ids(length, length) for length in lengths]
        queries = [
            Query(name, torch.cat((prompt, torch.full((8,), MASK_ID))), torch.arange(len(prompt), len(prompt) + 8))
            for name, prompt in enumerate(prompts)
        ]
        bound = Watched(model, prompts).bound
        self.counted(bound, queries)
        after_first = list(bound.flops)
        later, after_later = self.counted(bound, queries), list(bound.flops)
        assert sorted(bound.first_layer.kept) == list(range(len(lengths)))
        monkeypatch.setattr(first_layer, "MIN_PROMPT", 10**9)
        usual = self.counted(Watched(model, prompts).bound, queries)
        saved = [kept_flops(CONFIG, length) for length in lengths]
        assert usual - later == pytest.approx(sum(saved), rel=1e-9)
        for name, length in enumerate(lengths):
            whole = query_flops(CONFIG, length + 8, 8, VOCABULARY)
            assert after_first[name] == pytest.approx(whole, rel=1e-12)
            assert after_later[name] - after_first[name] == pytest.approx(whole - saved[name], rel=1e-12)
        assert sum(after_later) - sum(after_first) == pytest.approx(later, rel=1e-9)
