from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lladav_eval.sampling import confidence
from lladav_eval.sampling.confidence import choose_tokens, guided, select


def random_logits(counts: Sequence[int], vocabulary: int = 13) -> list[Tensor]:
    generator = torch.Generator().manual_seed(sum(counts))
    return [3 * torch.randn(count, vocabulary, generator=generator) for count in counts]


def test_the_most_likely_allowed_token_and_its_probability() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
    (choice,) = choose_tokens([logits], [(1,)])
    assert choice.token_ids.tolist() == [2, 0]
    allowed = torch.tensor([[0.0, -torch.inf, 1.0], [5.0, -torch.inf, 0.0]], dtype=torch.float64).softmax(-1)
    assert torch.equal(choice.probabilities, allowed[[0, 1], [2, 0]])
    assert choice.finite
    assert logits.tolist() == [[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]], "the model's tensors are left alone"


@pytest.mark.parametrize("budget", [1, 13, 40, 1000])
def test_working_in_pieces_changes_no_bit(monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    logits = random_logits([3, 1, 7, 2])
    unconditional = random_logits([3, 1, 7, 2, 0])[:4]
    forbidden = [(1,), (), (2, 3), (0,)]
    uniforms = torch.rand(13, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    monkeypatch.setitem(confidence.WIDE_ELEMENTS, "cpu", budget)
    for temperature in (0.0, 0.7):
        together = choose_tokens(logits, forbidden, unconditional, 0.5, temperature, uniforms)
        first = 0
        for row, choice in enumerate(together):
            scores = guided(logits[row], unconditional[row], 0.5)
            scores[:, list(forbidden[row])] = -torch.inf
            noise = (-torch.log(uniforms[first : first + len(scores)])) ** temperature
            first += len(scores)
            wanted = (scores.double().exp() / noise if temperature else scores).argmax(-1)
            assert torch.equal(choice.token_ids, wanted)
            assert torch.equal(choice.probabilities, scores.double().softmax(-1)[range(len(scores)), wanted])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_logits_are_noticed_in_their_sample_only(bad: float, temperature: float) -> None:
    logits = random_logits([2, 2])
    logits[1][1, 4] = bad
    uniforms = torch.full((4, 13), 0.5, dtype=torch.float64)
    assert [c.finite for c in choose_tokens(logits, [(), ()], None, 0.0, temperature, uniforms)] == [True, False]


def test_an_infinity_behind_an_overflowing_choice_is_noticed() -> None:
    """exp(800) overflows float64, so noise picks it before the infinite logit; its probability gives it away."""
    uniforms = torch.full((1, 2), 0.5, dtype=torch.float64)
    (choice,) = choose_tokens([torch.tensor([[800.0, torch.inf]])], [()], temperature=1.0, uniforms=uniforms)
    assert (choice.token_ids.item(), choice.finite) == (0, False)


def test_a_forbidden_token_that_noise_picks_where_all_is_0_is_noticed() -> None:
    """exp(-800) is 0 like that of a forbidden token."""
    uniforms = torch.full((1, 2), 0.5, dtype=torch.float64)
    (choice,) = choose_tokens([torch.tensor([[0.0, -800.0]])], [(0,)], temperature=1.0, uniforms=uniforms)
    assert (choice.token_ids.item(), choice.finite) == (0, False)


def test_a_vocabulary_forbidden_whole_is_noticed() -> None:
    assert not choose_tokens(random_logits([1], 2), [(0, 1)])[0].finite


def test_minus_infinity_is_a_fair_logit() -> None:
    (choice,) = choose_tokens([torch.tensor([[-torch.inf, 1.0]])], [()])
    assert (choice.finite, choice.token_ids.item(), choice.probabilities.item()) == (True, 1, 1.0)


def test_half_precision_is_scored_as_the_floats_it_holds() -> None:
    (logits,) = random_logits([4])
    half = logits.bfloat16()
    (ours,), (widened,) = choose_tokens([half], [()]), choose_tokens([half.float()], [()])
    assert torch.equal(ours.probabilities, widened.probabilities)


def test_gumbel_sampling_follows_the_softmax() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).repeat(40_000, 1)
    uniforms = torch.rand(40_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (choice,) = choose_tokens([logits], [()], temperature=1.0, uniforms=uniforms)
    shares = torch.bincount(choice.token_ids, minlength=3) / 40_000
    assert shares.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.01)


def test_select_takes_the_most_confident_in_order_of_position() -> None:
    positions, confidences = torch.tensor([2, 5, 7]), torch.tensor([0.1, 0.9, 0.5], dtype=torch.float64)
    assert select(positions, confidences, 10, 2).tolist() == [1, 2]
    assert select(positions, confidences, 10, 0).tolist() == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_select_breaks_ties_and_fills_up_as_top_k_does_on_the_whole_sequence(dtype: torch.dtype) -> None:
    for length in (4, 40, 400):
        for count in (1, 3, 4):
            whole = torch.full((length,), -torch.inf, dtype=dtype)
            whole[length // 2] = 0.25
            whole[length // 2 + 1] = 0.25
            masked = torch.arange(length // 2, length)
            wanted = sorted(set(torch.topk(whole, count).indices.tolist()) & set(masked.tolist()))
            assert masked[select(masked, whole[masked], length, count)].tolist() == wanted


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_gpu_chooses_as_the_cpu_does(temperature: float) -> None:
    logits = random_logits([3, 1, 7, 2], vocabulary=5000)
    uniforms = torch.rand(13, 5000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    forbidden = [(1,), (), (2, 3), (0,)]
    here = choose_tokens(logits, forbidden, None, 0.0, temperature, uniforms, True)
    there = choose_tokens([scores.cuda() for scores in logits], forbidden, None, 0.0, temperature, uniforms, True)
    for ours, theirs in zip(here, there, strict=True):
        assert torch.equal(ours.token_ids, theirs.token_ids)
        torch.testing.assert_close(ours.probabilities, theirs.probabilities)
        torch.testing.assert_close(ours.gaps, theirs.gaps)
