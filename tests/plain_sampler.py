"""A plain, slow sampler: the second truth that lladav_eval.sampling must agree with, token for token.

One sequence, logits for every position at every step, float64 softmax over all of them, no state but the ids, and a
forward pass even where nothing can be filled. Written from the semantics of ``generate_with_embeds`` in the authors'
modeling_llada.py, not from our own loop; keep it dull.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lladav_eval.records import SamplingParams
from lladav_eval.sampling.noise import NoiseSource

FullLogits = Callable[[Tensor], Tensor]
"""Logits (L, V) of all positions of the ids (L,)."""


@dataclass
class PlainStep:
    """What one step filled; positions count from the start of the answer."""

    step: int
    block: int
    positions: list[int]
    token_ids: list[int]
    confidences: list[float]


@dataclass
class PlainResult:
    token_ids: list[int]
    stop: int | None
    passes: int = 0
    """Forward passes of steps that had something to fill."""
    idle_passes: int = 0
    """Forward passes of steps that had nothing to fill."""
    steps: list[PlainStep] = field(default_factory=list)


def plain_sample(
    full_logits: FullLogits,
    prompt: Sequence[int],
    params: SamplingParams,
    mask_id: int,
    forbidden_ids: Sequence[int] = (),
    stop_sequences: Sequence[Sequence[int]] = (),
    suffix_ids: Sequence[int] = (),
    noise: NoiseSource | None = None,
    steps_limit: int | None = None,
) -> PlainResult:
    """Answer ``prompt``; ``steps_limit`` ends early after that many steps, for timing."""
    start, end = len(prompt), len(prompt) + params.gen_length
    ids = torch.tensor([*prompt, *[mask_id] * params.gen_length, *suffix_ids])
    result = PlainResult([], None)
    for block in range(params.num_blocks):
        block_start = start + block * params.block_length
        block_end = block_start + params.block_length
        if result.stop is not None and start + result.stop <= block_start:
            break
        masks_in_block = int((ids[block_start:block_end] == mask_id).sum())
        for step in range(params.steps_per_block):
            masked = ids == mask_id
            masked[end:] = False  # the suffix stays as it is
            if result.stop is not None and not masked[start : start + result.stop].any():
                break
            if not masked[block_start:block_end].any():
                break
            if steps_limit is not None and len(result.steps) == steps_limit:
                return result
            count = masks_in_block // params.steps_per_block
            if step < masks_in_block % params.steps_per_block:
                count += 1
            logits = guided_logits(full_logits, ids, start, mask_id, params.cfg_scale)
            passes = 1 if params.cfg_scale == 0 else 2
            if count == 0:
                # The authors draw noise here as well; that shifts their random stream and changes nothing else.
                result.idle_passes += passes
                continue
            result.passes += passes
            for token_id in forbidden_ids:
                logits[masked, token_id] = -torch.inf
            chosen, confidence = choose(logits, params, noise)
            confidence[block_end if result.stop is None else start + result.stop :] = -torch.inf
            confidence[~masked] = -torch.inf
            picked = torch.zeros(len(ids), dtype=torch.bool)
            picked[torch.topk(confidence, count).indices] = True
            picked &= masked
            ids[picked] = chosen[picked]
            result.steps.append(
                PlainStep(
                    block * params.steps_per_block + step,
                    block,
                    (picked.nonzero().flatten() - start).tolist(),
                    chosen[picked].tolist(),
                    confidence[picked].tolist(),
                )
            )
            result.stop = find_stop(ids[start:end].tolist(), stop_sequences, result.stop)
    answer_end = end if result.stop is None else start + result.stop
    result.token_ids = ids[start:answer_end].tolist() + list(suffix_ids)
    return result


def guided_logits(full_logits: FullLogits, ids: Tensor, start: int, mask_id: int, scale: float) -> Tensor:
    """Logits (L, V), with classifier-free guidance if ``scale`` is above 0."""
    logits = full_logits(ids).float()
    if scale == 0:
        return logits
    without_prompt = ids.clone()
    without_prompt[:start] = mask_id
    unconditional = full_logits(without_prompt).float()
    return unconditional + (scale + 1) * (logits - unconditional)


def choose(logits: Tensor, params: SamplingParams, noise: NoiseSource | None) -> tuple[Tensor, Tensor]:
    """Token (L,) and confidence (L,) of every position."""
    everywhere = torch.arange(len(logits))
    noisy = logits
    if params.temperature > 0:
        assert noise is not None
        uniforms = noise.token_uniforms(everywhere, logits.shape[1])
        noisy = torch.exp(logits.double()) / (-torch.log(uniforms)) ** params.temperature
    chosen = torch.argmax(noisy, dim=1)
    if params.remasking == "random":
        assert noise is not None
        return chosen, noise.position_uniforms(everywhere).clone()
    probabilities = torch.softmax(logits.double(), dim=1)
    return chosen, probabilities[everywhere, chosen]


def find_stop(answer: list[int], stop_sequences: Sequence[Sequence[int]], stop: int | None) -> int | None:
    """Where the answer stops, given where it stopped before; only the first sequence is tried once it did."""
    for sequence in stop_sequences:
        for at in range(len(answer) - len(sequence) + 1):
            if answer[at : at + len(sequence)] == list(sequence):
                if stop is None or at < stop:
                    stop = at
                break
        if stop is not None:
            break
    return stop
