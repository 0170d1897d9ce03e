"""The Monte Carlo likelihood against exhaustive enumeration on a toy vocabulary."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lladav_eval.errors import SampleError, SettingError
from lladav_eval.records import Query
from lladav_eval.sampling.likelihood import masked_log_likelihood

VOCABULARY, LENGTH, MASK = 3, 3, 3
PROMPT = torch.tensor([0, 1])


class ExactConditionals:
    """A model that knows a random joint distribution and returns its exact conditionals at masked positions."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.joint = torch.rand((VOCABULARY,) * LENGTH, generator=generator, dtype=torch.float64) + 0.05
        self.joint /= self.joint.sum()

    def __call__(self, queries: Sequence[Query]) -> list[Tensor]:
        return [self.logits(query.token_ids[len(PROMPT) :], query.positions - len(PROMPT)) for query in queries]

    def logits(self, answer: Tensor, positions: Tensor) -> Tensor:
        rows = []
        for position in positions.tolist():
            weights = torch.zeros(VOCABULARY, dtype=torch.float64)
            for candidate in itertools.product(range(VOCABULARY), repeat=LENGTH):
                if all(answer[i] in (MASK, candidate[i]) for i in range(LENGTH)):
                    weights[candidate[position]] += self.joint[candidate]
            rows.append((weights / weights.sum()).log())
        return torch.stack(rows)


def enumerated(model: ExactConditionals, answer: Sequence[int]) -> float:
    """The estimator's expectation, over every mask with its probability."""
    target = torch.tensor(answer)
    total = 0.0
    for count in range(1, LENGTH + 1):
        subsets = list(itertools.combinations(range(LENGTH), count))
        for subset in subsets:
            positions = torch.tensor(subset)
            masked = target.clone()
            masked[positions] = MASK
            chosen = model.logits(masked, positions).gather(1, target[positions][:, None]).sum().item()
            total += LENGTH / count * chosen / len(subsets) / LENGTH
    return total


@pytest.mark.parametrize("seed", range(3))
def test_estimate_agrees_with_enumerating_every_mask(seed: int) -> None:
    model = ExactConditionals(seed)
    answer = [seed % VOCABULARY, 1, 2]
    estimate = masked_log_likelihood(model, 0, PROMPT, answer, MASK, draws=3000, seed=seed)
    exact = enumerated(model, answer)
    assert estimate.standard_error > 0
    assert abs(estimate.value - exact) < 4 * estimate.standard_error
    assert abs(estimate.value - exact) < 0.05
    # with exact conditionals the bound is tight up to the parallel factorization, never above the truth by much
    assert exact <= math.log(model.joint[tuple(answer)].item()) + 0.5


def test_one_token_answer_is_exact_in_one_pass() -> None:
    calls = []

    def denoise(queries: Sequence[Query]) -> list[Tensor]:
        calls.extend(queries)
        return [torch.tensor([[0.0, 1.0, 2.0]]) for _ in queries]

    estimate = masked_log_likelihood(denoise, 0, PROMPT, [2], MASK, draws=64)
    assert len(calls) == 1
    assert estimate.standard_error == 0
    assert estimate.value == pytest.approx(torch.tensor([0.0, 1.0, 2.0]).log_softmax(0)[2].item())


def test_same_seed_same_estimate_whatever_the_batch() -> None:
    model = ExactConditionals(5)
    first, second = (masked_log_likelihood(model, 0, PROMPT, [0, 1, 2], MASK, 20, 7, size) for size in (1, 8))
    assert first == second
    assert first != masked_log_likelihood(model, 0, PROMPT, [0, 1, 2], MASK, 20, 8)


def test_the_standard_error_is_that_of_the_mean() -> None:
    model = ExactConditionals(5)
    one, two = (masked_log_likelihood(model, 0, PROMPT, [0, 1, 2], MASK, draws) for draws in (1, 2))
    assert (one.standard_error, one.draws) == (0, 1)
    assert two.standard_error == pytest.approx(abs(one.value - two.value))  # of two draws, either's distance from both
    assert two.standard_error > 0.1


def test_bad_input_raises() -> None:
    with pytest.raises(SettingError, match="draws=0"):
        masked_log_likelihood(ExactConditionals(0), 0, PROMPT, [1], MASK, draws=0)
    with pytest.raises(SampleError, match="no tokens"):
        masked_log_likelihood(ExactConditionals(0), 0, PROMPT, [], MASK)
