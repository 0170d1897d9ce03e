"""What an approximate cache computes at a step: decisions over positions and step numbers, without the model.

A position that is asked about always has a state, so masks inside the prompt are filled in these modes as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lladav_eval.approximate import DllmCache, DualCache, PrefixCache, parse_cache
from lladav_eval.records import Reuse, SamplingParams


@dataclass(frozen=True)
class Moment:
    """Where one sample stands when it asks the model; positions count from the start of its sequence."""

    asked: Tensor
    """(n,) int64: the positions whose logits are wanted."""
    prompt: int
    """Length of the prompt."""
    block_start: int
    block_end: int
    length: int
    """Of the whole sequence, suffix included."""
    step_in_block: int
    """Queries this block has seen before this one."""
    step: int
    """Queries the sample has seen before this one."""


class CachePolicy(Protocol):
    """Chooses what is computed; no state, so samples can't influence each other."""

    def reuse(self, moment: Moment) -> Reuse: ...


def cache_policy(params: SamplingParams) -> CachePolicy | None:
    """The policy that ``params`` ask for; None is exact decoding."""
    if params.cache is None:
        return None
    settings = parse_cache(params.cache)
    return DllmPolicy(settings) if isinstance(settings, DllmCache) else BlockPolicy(settings)


@dataclass(frozen=True)
class BlockPolicy:
    """Whole passes at the start of a block and every ``refresh`` steps; between them the block alone, or the block and
    everything after it.

    Source: ``generate_with_prefix_cache`` and ``generate_with_dual_cache`` of Fast-dLLM (arXiv 2505.22618,
    section 3.2), with the refresh interval of its table 10.
    """

    settings: PrefixCache | DualCache

    def reuse(self, moment: Moment) -> Reuse:
        nothing = torch.empty(0, dtype=torch.int64)
        if moment.step_in_block % self.settings.refresh == 0:
            return Reuse(torch.arange(moment.length), nothing)
        end = moment.block_end if isinstance(self.settings, DualCache) else moment.length
        return Reuse(_union(moment, moment.block_start, end), nothing)


@dataclass(frozen=True)
class DllmPolicy:
    """The prompt every ``prompt_interval`` steps and the answer (with its suffix) every ``response_interval``; at the
    other steps the share ``transfer_ratio`` of the answer.

    Source: train/llava/cache/Cache.py and train/llava/hooks/cache_hook_LLaDA_V.py of the authors (arXiv 2506.06295).
    Theirs counts its steps over all blocks too. It crashes with guidance and a transfer ratio above 0; ours doesn't.
    """

    settings: DllmCache

    def reuse(self, moment: Moment) -> Reuse:
        start = 0 if moment.step % self.settings.prompt_interval == 0 else moment.prompt
        answer_is_fresh = moment.step % self.settings.response_interval == 0
        end = moment.length if answer_is_fresh else moment.prompt
        held = torch.arange(moment.prompt, moment.length)
        transfers = 0 if answer_is_fresh else int(len(held) * self.settings.transfer_ratio)
        asked_prompt = moment.asked[moment.asked < moment.prompt]
        return Reuse(torch.cat((asked_prompt, torch.arange(start, end))).unique(), held, transfers)


def _union(moment: Moment, start: int, end: int) -> Tensor:
    """The asked positions and those from ``start`` to ``end``, ascending."""
    return torch.cat((moment.asked, torch.arange(start, end))).unique()
