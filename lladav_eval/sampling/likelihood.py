"""How likely the model finds a given answer: the Monte Carlo bound of masked diffusion.

Source: LLaDA (arXiv 2502.09992), equation 6 and algorithm 3. For an answer of L tokens, l is drawn uniformly from
1..L, l of its tokens are masked, and (L / l) times the sum of their log-probabilities estimates the log-likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lladav_eval.errors import SampleError, SettingError
from lladav_eval.records import Denoise, Query


@dataclass(frozen=True)
class LogLikelihood:
    """An estimate in nats."""

    value: float
    standard_error: float
    """Of the Monte Carlo mean; 0 when every draw is the same (an answer of one token)."""
    draws: int


def masked_log_likelihood(
    denoise: Denoise,
    sample: int,
    prompt: Tensor,
    answer: Sequence[int],
    mask_id: int,
    draws: int = 128,
    seed: int = 0,
    batch_size: int = 32,
) -> LogLikelihood:
    """Estimate log p(answer | prompt).

    Args:
        denoise: the model, bound to its prompts.
        sample: which bound prompt the question belongs to.
        prompt: (length,) expanded prompt ids.
        answer: ids of the answer.
        mask_id: id of [MASK].
        draws: masks drawn; the standard error falls with its square root.
        seed: of the draws; the same seed gives the same masks for answers of equal length.
        batch_size: masked sequences a forward pass.

    Raises:
        SettingError: if ``draws`` is below 1.
        SampleError: if the answer is empty.
    """
    if draws < 1:
        raise SettingError(f"draws={draws}: must be at least 1")
    if not answer:
        raise SampleError("the answer to be scored has no tokens")
    if len(answer) == 1:
        draws = 1  # there is only one mask to draw
    generator = torch.Generator().manual_seed(seed)
    target = torch.tensor(list(answer), dtype=torch.int64)
    masks = [_draw_mask(len(target), generator) for _ in range(draws)]
    estimates: list[float] = []
    for start in range(0, draws, batch_size):
        chunk = masks[start : start + batch_size]
        queries = [
            Query(
                sample, torch.cat((prompt, target.masked_fill(mask, mask_id))), mask.nonzero().flatten() + len(prompt)
            )
            for mask in chunk
        ]
        for mask, logits in zip(chunk, denoise(queries), strict=True):
            chosen = logits.double().log_softmax(-1).gather(1, target[mask][:, None].to(logits.device))
            estimates.append(len(target) / int(mask.sum()) * float(chosen.sum()))
    mean = math.fsum(estimates) / draws
    variance = math.fsum((estimate - mean) ** 2 for estimate in estimates) / max(draws - 1, 1)
    return LogLikelihood(mean, math.sqrt(variance / draws), draws)


def _draw_mask(length: int, generator: torch.Generator) -> Tensor:
    """(length,) bool with a uniformly drawn number of True, at uniformly drawn places."""
    count = int(torch.randint(1, length + 1, (), generator=generator))
    mask = torch.zeros(length, dtype=torch.bool)
    mask[torch.randperm(length, generator=generator)[:count]] = True
    return mask
