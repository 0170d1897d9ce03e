from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_sampler import PlainResult, plain_sample
from torch import Tensor
from toy_model import FORBIDDEN_IDS, MASK_ID, VOCABULARY, SharedNoise, ToyModel

from lladav_eval.errors import SettingError
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Query, SamplingParams
from lladav_eval.sampling.loop import Sampled, Sampler, SamplingTokens, SeededNoise, sample

WORDS = st.integers(0, 5)
PROMPT_IDS = st.one_of(WORDS, st.just(MASK_ID), st.just(IMAGE_PLACEHOLDER_ID))
NO_STOP = SamplingTokens(MASK_ID, FORBIDDEN_IDS)


@dataclass(frozen=True)
class Case:
    """One prompt and the noise that belongs to it."""

    name: int
    prompt: tuple[int, ...]
    tokens: SamplingTokens
    noise_seed: int

    def noise(self, params: SamplingParams) -> SharedNoise:
        return SharedNoise(self.noise_seed, len(self.prompt) + params.gen_length + len(self.tokens.suffix_ids))


@st.composite
def params_of_any_kind(draw: st.DrawFn) -> SamplingParams:
    blocks, length, steps = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 8))
    return SamplingParams(
        gen_length=blocks * length,
        block_length=length,
        steps=blocks * steps,
        temperature=draw(st.sampled_from([0.0, 0.0, 0.5, 1.0])),
        cfg_scale=draw(st.sampled_from([0.0, 0.0, 0.5, 1.0])),
        remasking=draw(st.sampled_from(["low_confidence", "random"])),
    )


@st.composite
def cases(draw: st.DrawFn, name: int) -> Case:
    stops = st.lists(st.lists(WORDS, min_size=1, max_size=2).map(tuple), max_size=3).map(tuple)
    tokens = SamplingTokens(
        MASK_ID,
        draw(st.sampled_from([FORBIDDEN_IDS, (*FORBIDDEN_IDS, MASK_ID), ()])),
        draw(stops),
        draw(st.lists(WORDS | st.just(MASK_ID), max_size=2).map(tuple)),
    )
    return Case(name, draw(st.lists(PROMPT_IDS, min_size=1, max_size=6).map(tuple)), tokens, draw(st.integers(0, 99)))


def run(model: ToyModel, batch: Sequence[Case], params: SamplingParams) -> list[Sampled]:
    prompts = [torch.tensor(case.prompt) for case in batch]
    noise = [case.noise(params) for case in batch]
    denoise = model.renamed([case.name for case in batch])
    return sample(denoise, prompts, params, [case.tokens for case in batch], noise, record_trace=True)


def run_plainly(model: ToyModel, case: Case, params: SamplingParams) -> PlainResult:
    tokens = case.tokens
    return plain_sample(
        model.bound(case.name),
        case.prompt,
        params,
        tokens.mask_id,
        tokens.forbidden_ids,
        tokens.stop_sequences,
        tokens.suffix_ids,
        case.noise(params),
    )


def assert_equal(ours: Sampled, plain: PlainResult) -> None:
    assert ours.error is None
    assert list(ours.token_ids) == plain.token_ids
    assert ours.stop_reason == ("length" if plain.stop is None else "stop")
    assert ours.forward_passes == plain.passes
    assert ours.trace is not None
    assert [
        (step.step, step.block, list(step.positions), list(step.token_ids), list(step.confidences))
        for step in ours.trace
    ] == [(step.step, step.block, step.positions, step.token_ids, step.confidences) for step in plain.steps]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(params_of_any_kind(), st.tuples(*(cases(name) for name in range(3))), st.permutations(range(3)), st.data())
def test_equals_the_plain_loop_alone_and_in_any_batch(
    params: SamplingParams, all_cases: tuple[Case, ...], order: list[int], data: st.DataObject
) -> None:
    model = ToyModel(data.draw(st.integers(0, 1000)), levels=data.draw(st.sampled_from([None, None, 2])))
    plain = [run_plainly(model, case, params) for case in all_cases]
    for case, expected in zip(all_cases, plain, strict=True):
        assert_equal(run(model, [case], params)[0], expected)
    shuffled = [all_cases[index] for index in order[: data.draw(st.integers(2, 3))]]
    for case, ours in zip(shuffled, run(model, shuffled, params), strict=True):
        assert_equal(ours, plain[case.name])


def test_the_hypothesis_cases_reach_the_rare_branches() -> None:
    """Early stop, a stop that moves, fills beyond the stop, masks left over, prompt masks: a fixed sweep meets all."""
    seen = dict.fromkeys(("stop", "moved", "beyond", "left", "prompt", "idle"), 0)
    for seed in range(150):
        case = Case(0, (1, MASK_ID, 2), dataclasses.replace(NO_STOP, stop_sequences=((3,), (4,))), seed)
        params = SamplingParams(16, 8, 2 * (1 + seed % 9))
        model = ToyModel(seed)
        ours = run(model, [case], params)[0]
        plain = run_plainly(model, case, params)
        assert_equal(ours, plain)
        filled = [position for step in ours.trace or () for position in step.positions]
        confidences = [score for step in ours.trace or () for score in step.confidences]
        seen["stop"] += ours.stop_reason == "stop"
        seen["beyond"] += -torch.inf in confidences
        seen["left"] += MASK_ID in ours.token_ids
        seen["prompt"] += any(position < 0 for position in filled)
        seen["idle"] += plain.idle_passes > 0
        stops = [len(ours.token_ids)]
        answer = [MASK_ID] * 16
        for step in ours.trace or ():
            for position, token in zip(step.positions, step.token_ids, strict=True):
                if position >= 0:
                    answer[position] = token
            stops += [answer.index(token) for token in (3, 4) if token in answer][:1]
        seen["moved"] += ours.stop_reason == "stop" and max(stops) > len(ours.token_ids)
    assert all(seen.values()), seen


def test_asks_only_where_a_mask_can_still_be_filled() -> None:
    model = ToyModel()
    sample(model.renamed([0]), [torch.tensor([1, 2])], SamplingParams(8, 4, 8), [SamplingTokens(MASK_ID, (6, 7, 8))])
    asked = [call[0].positions.tolist() for call in model.calls]
    assert [len(positions) for positions in asked] == [4, 3, 2, 1, 4, 3, 2, 1]
    assert asked[0] == [2, 3, 4, 5]
    assert asked[4] == [6, 7, 8, 9]


def test_the_suffix_stays_even_if_it_holds_mask_ids() -> None:
    """Steps that must fill beyond the stop ask for every mask left, but for none of the suffix."""
    suffix, beyond = (MASK_ID, 4, MASK_ID), 0
    tokens = SamplingTokens(MASK_ID, FORBIDDEN_IDS, ((3,),), suffix)
    for seed in range(20):
        model = ToyModel(seed)
        (ours,) = sample(model.renamed([0]), [torch.tensor([1])], SamplingParams(8, 8, 2), [tokens], None, True)
        assert ours.token_ids[-3:] == suffix
        for (query,) in model.calls:
            assert query.token_ids[-3:].tolist() == list(suffix)
            assert query.positions.max() < 9
        beyond += any(-torch.inf in step.confidences for step in ours.trace or ())
    assert beyond


def test_steps_with_nothing_to_fill_cost_nothing() -> None:
    model = ToyModel()
    tokens = SamplingTokens(MASK_ID, (6, 7, 8))
    (ours,) = sample(model.renamed([0]), [torch.tensor([1])], SamplingParams(4, 4, 16), [tokens])
    assert ours.forward_passes == len(model.calls) == 4


def test_guidance_hides_the_whole_prompt_and_counts_twice() -> None:
    model = ToyModel()
    prompt = torch.tensor([1, IMAGE_PLACEHOLDER_ID, 2])
    (ours,) = sample(model.renamed([0]), [prompt], SamplingParams(2, 2, 2, cfg_scale=1.0), [NO_STOP])
    assert ours.forward_passes == 4
    for with_prompt, without in model.calls:
        assert with_prompt.token_ids[:3].tolist() == prompt.tolist()
        assert without.token_ids[:3].tolist() == [MASK_ID] * 3
        assert without.token_ids[3:].tolist() == with_prompt.token_ids[3:].tolist()
        assert without.positions.tolist() == with_prompt.positions.tolist()


def test_unfinished_samples_share_each_call_and_finished_ones_leave() -> None:
    class Always(ToyModel):
        """Sample 0 wants token 5 everywhere, the others token 1."""

        def full_logits(self, ids: Tensor, sample: int) -> Tensor:
            logits = torch.zeros(len(ids), VOCABULARY)
            logits[:, 5 if sample == 0 else 1] = 4.0
            return logits

    model = Always()
    tokens = dataclasses.replace(NO_STOP, stop_sequences=((5,),))
    prompts = [torch.tensor([1]), torch.tensor([1, 1])]
    first, second = sample(model.renamed([0, 1]), prompts, SamplingParams(4, 2, 4), [tokens] * 2)
    assert (first.token_ids, first.stop_reason, first.forward_passes) == ((), "stop", 1)
    assert (second.token_ids, second.stop_reason, second.forward_passes) == ((1, 1, 1, 1), "length", 4)
    assert [[query.sample for query in call] for call in model.calls] == [[0, 1], [1], [1], [1]]


def test_all_that_a_step_finishes_leave_at_once() -> None:
    sampler = Sampler(ToyModel().renamed([0, 1]), SamplingParams(2, 2, 1))
    for index in range(2):
        sampler.add(index, torch.tensor([1]), NO_STOP, SeededNoise(0))
    assert sampler.active == (0, 1)
    assert sorted(sampler.step()) == [0, 1]
    assert sampler.active == ()


def test_a_sample_with_broken_logits_fails_alone() -> None:
    model = ToyModel()
    sound = model.renamed([0, 1])

    def denoise(queries: Sequence[Query]) -> list[Tensor]:
        logits = sound(queries)
        for query, scores in zip(queries, logits, strict=True):
            if query.sample == 0 and len(model.calls) == 2:
                scores[0, 0] = torch.nan
        return logits

    prompts, params = [torch.tensor([1]), torch.tensor([2])], SamplingParams(4, 4, 4)
    failed, fine = sample(denoise, prompts, params, [NO_STOP] * 2)
    assert (failed.stop_reason, failed.token_ids, failed.forward_passes) == ("failed", (), 2)
    assert failed.error is not None
    assert "not finite at step 1" in failed.error
    assert fine == sample(ToyModel().renamed([1]), prompts[1:], params, [NO_STOP])[0]


def test_default_noise_belongs_to_the_sample() -> None:
    params = SamplingParams(8, 4, 8, temperature=1.0, remasking="random", seed=3)
    prompts = [torch.tensor([index, IMAGE_PLACEHOLDER_ID]) for index in range(3)]
    together = sample(ToyModel().renamed([0, 1, 2]), prompts, params, [NO_STOP] * 3)
    alone = [sample(ToyModel().renamed([i]), [prompts[i]], params, [NO_STOP])[0] for i in range(3)]
    assert together == alone
    other = dataclasses.replace(params, seed=4)
    assert sample(ToyModel().renamed([0, 1, 2]), prompts, other, [NO_STOP] * 3) != together


def test_nothing_in_nothing_out() -> None:
    assert sample(ToyModel().renamed([]), [], SamplingParams(2, 2, 2), []) == []


def test_trace_is_off_by_default() -> None:
    assert sample(ToyModel().renamed([0]), [torch.tensor([1])], SamplingParams(2, 2, 2), [NO_STOP])[0].trace is None


def test_a_stop_string_without_tokens_is_refused() -> None:
    with pytest.raises(SettingError, match="no tokens"):
        SamplingTokens(MASK_ID, stop_sequences=((1,), ()))
