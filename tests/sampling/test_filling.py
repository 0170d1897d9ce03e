"""Confidence thresholds and early commit, against a plain loop and by hand-written examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_model import FORBIDDEN_IDS, MASK_ID, ToyModel

from lladav_eval.records import SamplingParams
from lladav_eval.sampling.confidence import choose_tokens
from lladav_eval.sampling.filling import EarlyCommit, Offer, Prophet, Scheduled, Threshold, filling_rule
from lladav_eval.sampling.loop import Sampled, SamplingTokens, sample

TOKENS = SamplingTokens(MASK_ID, (*FORBIDDEN_IDS, MASK_ID))


def run(model: ToyModel, prompts: Sequence[Tensor], params: SamplingParams) -> list[Sampled]:
    return sample(model.renamed(range(len(prompts))), prompts, params, [TOKENS] * len(prompts), record_trace=True)


def plain(model: ToyModel, prompt: Tensor, params: SamplingParams) -> tuple[list[int], list[list[int]]]:
    """Answer, and the positions filled at each step: Fast-dLLM's threshold and Prophet's commit, written out dully."""
    ids = torch.cat((prompt, torch.full((params.gen_length,), MASK_ID)))
    stages = [float(number) for number in (params.early_commit or ":0,0,0").split(":")[1].split(",")]
    filled = []
    for block in range(params.num_blocks):
        start = len(prompt) + block * params.block_length
        end = start + params.block_length
        steps = params.block_length if params.threshold is not None else params.steps_per_block
        share, more = divmod(params.block_length, steps)
        for step in range(steps):
            where = [position for position in range(start, end) if ids[position] == MASK_ID]
            count = share + (step < more)
            if not where or not count:
                break
            logits = model.full_logits(ids, 0).double()
            logits[:, list(TOKENS.forbidden_ids)] = -torch.inf
            best, token = logits.softmax(-1).max(-1)
            order = sorted(where, key=lambda position: -float(best[position]))
            keep = order[:count]
            if params.threshold is not None:
                keep = [position for position in order if best[position] >= params.threshold] or order[:1]
            if params.early_commit is not None:
                top = logits.sort(-1, descending=True).values
                gap = sum(float(top[position, 0] - top[position, 1]) for position in where) / len(where)
                third = 0 if 3 * step < steps else 1 if 3 * step < 2 * steps else 2
                keep = where if gap >= stages[third] else keep
            for position in keep:
                ids[position] = token[position]
            filled.append(sorted(position - len(prompt) for position in keep))
    return ids[len(prompt) :].tolist(), filled


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 6),
    st.data(),
    st.none() | st.floats(0.05, 1.0),
    st.none() | st.sampled_from(["prophet", "prophet:4,2,1", "prophet:3,0.5,0", "prophet:100,100,100"]),
)
def test_equals_the_plain_loop_alone_and_in_a_batch(
    blocks: int, length: int, data: st.DataObject, threshold: float | None, early_commit: str | None
) -> None:
    steps = data.draw(st.integers(1, length))
    params = SamplingParams(blocks * length, length, blocks * steps, threshold=threshold, early_commit=early_commit)
    model = ToyModel(data.draw(st.integers(0, 1000)))
    prompts = [torch.tensor(ids) for ids in ([1], [2, 3], [4, 4, 5])]
    for prompt, ours in zip(prompts, run(model, prompts, params), strict=True):
        answer, filled = plain(model, prompt, params)
        assert list(ours.token_ids) == answer
        assert [list(step.positions) for step in ours.trace or ()] == filled
        assert ours.forward_passes == len(filled)
        assert len({step.step for step in ours.trace or ()}) == len(filled)


def test_a_threshold_nothing_reaches_is_one_token_a_step() -> None:
    prompts = [torch.tensor([1, 2])]
    exact = run(ToyModel(), prompts, SamplingParams(8, 4, 8))
    assert run(ToyModel(), prompts, SamplingParams(8, 4, 2, threshold=1.0)) == exact


def test_a_threshold_everything_reaches_is_one_step_a_block() -> None:
    prompts = [torch.tensor([1, 2])]
    (exact,) = run(ToyModel(), prompts, SamplingParams(8, 4, 2))
    (ours,) = run(ToyModel(), prompts, SamplingParams(8, 4, 8, threshold=1e-9))
    assert (ours.token_ids, ours.forward_passes) == (exact.token_ids, 2)


def test_early_commit_and_noise_go_together() -> None:
    params = SamplingParams(8, 4, 8, temperature=0.5, early_commit="prophet:0,0,0")
    (ours,) = run(ToyModel(), [torch.tensor([1, 2])], params)
    assert (ours.error, ours.forward_passes) == (None, 2)


def test_early_commit_that_is_never_sure_is_exact() -> None:
    prompts = [torch.tensor([1, 2])]
    exact = run(ToyModel(), prompts, SamplingParams(8, 4, 8))
    assert run(ToyModel(), prompts, SamplingParams(8, 4, 8, early_commit="prophet:1000,1000,1000")) == exact


@pytest.mark.parametrize("mode", [{"threshold": 0.5}, {"early_commit": "prophet:3,2,1"}])
def test_nothing_beyond_a_stop_is_filled(mode: dict[str, Any]) -> None:
    tokens = dataclasses.replace(TOKENS, stop_sequences=((1,),))
    stopped = 0
    for seed in range(30):
        params = SamplingParams(8, 8, 8, **mode)
        (ours,) = sample(ToyModel(seed).renamed([0]), [torch.tensor([1])], params, [tokens], None, True)
        stop = params.gen_length
        for step in ours.trace or ():
            assert max(step.positions) < stop
            found = [at for at, token in zip(step.positions, step.token_ids, strict=True) if token == 1]
            stop = min([stop, *found])
        stopped += ours.stop_reason == "stop"
        assert len(ours.token_ids) == stop
        assert MASK_ID not in ours.token_ids
    assert stopped


def offer(confidences: list[float], gaps: list[float] | None, count: int = 1, progress: float = 0.0) -> Offer:
    positions = torch.arange(3, 3 + len(confidences))
    return Offer(
        positions,
        torch.tensor(confidences, dtype=torch.float64),
        None if gaps is None else torch.tensor(gaps, dtype=torch.float64),
        10,
        count,
        progress,
    )


def test_a_probability_equal_to_the_threshold_is_enough() -> None:
    assert Threshold(0.5).pick(offer([0.5, 0.4, 0.9, -torch.inf], None)).tolist() == [0, 2]
    assert Threshold(0.95).pick(offer([0.5, 0.4, 0.9], None)).tolist() == [2]


def test_the_gap_that_is_needed_falls_from_third_to_third() -> None:
    rule = EarlyCommit(Scheduled(), Prophet(7.5, 5.0, 2.5))
    for mean, progress, commits in (
        (7.5, 0.0, True), (7.4, 0.32, False), (5.0, 0.32, False), (5.0, 1 / 3, True), (4.9, 0.6, False),
        (2.5, 0.6, False), (2.5, 2 / 3, True), (2.4, 0.99, False),
    ):  # fmt: skip
        picked = rule.pick(offer([0.1, 0.3, 0.2], [mean - 1, mean + 1, mean], progress=progress)).tolist()
        assert picked == ([0, 1, 2] if commits else [1])


def test_gaps_of_positions_that_may_not_be_filled_do_not_count() -> None:
    rule = EarlyCommit(Scheduled(), Prophet(5.0, 5.0, 5.0))
    assert rule.pick(offer([0.1, 0.2, -torch.inf], [6.0, 6.0, 0.0])).tolist() == [0, 1]
    assert rule.pick(offer([0.1, 0.2, -torch.inf], [4.0, 4.0, 90.0])).tolist() == [1]


def test_gaps_leave_out_forbidden_tokens_and_are_computed_on_demand() -> None:
    logits = [torch.tensor([[1.0, 9.0, 4.0, 2.5]]), torch.tensor([[0.0, 3.0, 1.0, 2.0], [5.0, 5.0, 0.0, 0.0]])]
    first, second = choose_tokens(logits, [(1,), ()], with_gaps=True)
    assert first.gaps is not None
    assert second.gaps is not None
    assert (first.gaps.tolist(), second.gaps.tolist()) == ([1.5], [1.0, 0.0])
    assert all(choice.gaps is None for choice in choose_tokens(logits, [(1,), ()]))
    with pytest.raises(ValueError, match="gaps"):
        EarlyCommit(Scheduled(), Prophet()).pick(offer([0.5], None))


def test_rules_combine() -> None:
    rule = filling_rule(SamplingParams(4, 4, 4, threshold=0.9, early_commit="prophet:3,2,1"))
    assert rule == EarlyCommit(Threshold(0.9), Prophet(3, 2, 1))
    assert filling_rule(SamplingParams(4, 4, 4)) == Scheduled()
