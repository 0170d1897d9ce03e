"""Left-to-right decoding through the same denoiser, for autoregressive twins of a diffusion model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lladav_eval.errors import SettingError
from lladav_eval.records import Denoise, Query, SamplingParams, StopReason
from lladav_eval.sampling.confidence import choose_tokens
from lladav_eval.sampling.loop import Sampled, SamplingTokens


def decode_greedy(
    denoise: Denoise, prompts: Sequence[Tensor], params: SamplingParams, tokens: Sequence[SamplingTokens]
) -> list[Sampled]:
    """Answer ``prompts`` (length,) token by token, each time the most likely next one.

    One forward pass a token; unfinished samples share it. An answer ends before its first stop sequence or after
    ``params.gen_length`` tokens; block length and steps mean nothing here. The mask id and ``forbidden_ids`` are
    never chosen; end-of-text must not be among the latter, but may be a stop sequence.

    Raises:
        SettingError: if temperature, guidance, a suffix or an approximate mode is asked for; this decoder has none.
    """
    if params.approximate:
        raise SettingError("cache, threshold and early_commit need a diffusion model: leave them out for this one")
    if params.temperature > 0 or params.cfg_scale > 0 or any(special.suffix_ids for special in tokens):
        raise SettingError("temperature, cfg_scale and suffix need a diffusion model: leave them out for this one")
    answers: list[list[int]] = [[] for _ in prompts]
    reasons: list[StopReason | None] = [None for _ in prompts]
    prefixes = [prompt.cpu() for prompt in prompts]
    forbidden = [(special.mask_id, *special.forbidden_ids) for special in tokens]
    passes = [0 for _ in prompts]
    with torch.no_grad():
        while active := [row for row, reason in enumerate(reasons) if reason is None]:
            queries = [Query(row, prefixes[row], torch.tensor([len(prefixes[row]) - 1])) for row in active]
            choices = choose_tokens(denoise(queries), [forbidden[row] for row in active])
            for row, choice in zip(active, choices, strict=True):
                passes[row] += 1
                if not choice.finite:
                    reasons[row] = "failed"
                    continue
                answers[row].append(int(choice.token_ids))
                prefixes[row] = torch.cat((prefixes[row], choice.token_ids))
                reasons[row] = _ended(answers[row], tokens[row].stop_sequences, params.gen_length)
    return [
        Sampled(tuple(answer), reason, count)
        if reason in ("stop", "length")
        else Sampled((), "failed", count, error="the model gave logits that are not finite; try dtype float32")
        for answer, reason, count in zip(answers, reasons, passes, strict=True)
    ]


def _ended(answer: list[int], stop_sequences: Sequence[tuple[int, ...]], most: int) -> StopReason | None:
    """Why the answer is over, cutting a stop sequence off its end; None if it goes on."""
    matching = [len(sequence) for sequence in stop_sequences if tuple(answer[-len(sequence) :]) == sequence]
    if matching:
        del answer[-max(matching) :]
        return "stop"
    return "length" if len(answer) == most else None
