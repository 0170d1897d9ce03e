"""The forward passes of one sample, step by step: operations and memory traffic, from sizes alone.

The steps are those of sampling/loop.py and sampling/autoregressive.py for an answer that no stop string cuts short; in
approximate modes sampling/cache.py itself says what is computed. So sums equal ``Generation.flops``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from lladav_eval.model.cache import Part, SequenceStore
from lladav_eval.model.config import ModelConfig
from lladav_eval.model.first_layer import MIN_PROMPT
from lladav_eval.model.flops import Work, kept_flops, query_flops, reusing_flops
from lladav_eval.records import Query, SamplingParams
from lladav_eval.sampling.cache import CachePolicy, Moment, cache_policy
from lladav_eval.sampling.schedule import transfer_counts


@dataclass(frozen=True)
class Pass:
    """One sample's share of one forward pass of the transformer."""

    flops: float
    elements: float
    """Numbers read and written beside the weights: activations, stored keys and values, logits."""


def passes(
    config: ModelConfig, vocabulary: int, prompt: int, params: SamplingParams, keeps: bool = False
) -> list[Pass]:
    """The passes of one sample whose prompt takes ``prompt`` positions (media and suffix included), in order.

    Confidence thresholds and early commitment end a block sooner, depending on the answer: counted is the most they
    can take. ``keeps``: float32 on a CPU where the first layer's states of long prompts are kept
    (model/first_layer.py); a suffix counts as prompt there.
    """
    if config.causal:
        first = _stored(config, vocabulary, Work(prompt, prompt, 1, prompt, 1))
        later = (Work(prompt + index, 1, 1, 1, 1) for index in range(1, params.gen_length))
        return [first, *(_stored(config, vocabulary, work) for work in later)]
    length = prompt + params.gen_length
    policy = cache_policy(params)
    if policy is None:
        found = [_exact(config, vocabulary, length, asked) for _, _, asked in _asked(params)]
        if keeps and params.cfg_scale == 0 and config.num_hidden_layers > 1 and prompt >= MIN_PROMPT:
            saved = kept_flops(config, prompt)
            found[1:] = [replace(one, flops=one.flops - saved) for one in found[1:]]
    else:
        found = [_reusing(config, vocabulary, policy, moment) for moment in _moments(prompt, params)]
    if params.cfg_scale > 0:  # the sequence without prompt goes along
        found = [Pass(2 * one.flops, 2 * one.elements) for one in found]
    return found


def _asked(params: SamplingParams) -> Iterator[tuple[int, int, int]]:
    """(block, step in the block, positions still open) of every step that fills something."""
    block = params.block_length
    counts = [1] * block if params.threshold is not None else transfer_counts(block, params.steps_per_block)
    for number in range(params.num_blocks):
        still_open = block
        for step, count in enumerate(counts):
            if not count:
                break
            yield number, step, still_open
            still_open -= count


def _exact(config: ModelConfig, vocabulary: int, length: int, asked: int) -> Pass:
    return Pass(
        query_flops(config, length, asked, vocabulary), _layer_elements(config, length) + _logits(vocabulary, asked)
    )


def _moments(prompt: int, params: SamplingParams) -> Iterator[Moment]:
    """What the cache's policy is told at each step. Which positions are open depends on the answer, but only their
    number matters: the last ones are taken."""
    for step, (block, in_block, asked) in enumerate(_asked(params)):
        start = prompt + block * params.block_length
        end = start + params.block_length
        yield Moment(torch.arange(end - asked, end), prompt, start, end, prompt + params.gen_length, in_block, step)


def _reusing(config: ModelConfig, vocabulary: int, policy: CachePolicy, moment: Moment) -> Pass:
    ids = torch.zeros(moment.length, dtype=torch.int64)
    query = Query(0, ids, moment.asked, policy.reuse(moment))
    work = Part.build(query, SequenceStore([]), 0, torch.device("cpu")).work(moment.length)
    return _stored(config, vocabulary, work)


def _stored(config: ModelConfig, vocabulary: int, work: Work) -> Pass:
    """A pass that reads stored states."""
    keys = config.hidden_size // config.num_attention_heads * config.num_key_value_heads
    stored = config.num_hidden_layers * 2 * work.length * keys
    elements = _layer_elements(config, work.computed) + stored + _logits(vocabulary, work.wanted)
    return Pass(reusing_flops(config, work, vocabulary), elements)


def _layer_elements(config: ModelConfig, positions: int) -> float:
    """Numbers that all layers move for ``positions``, each operation reading its inputs and writing its output.

    A layer: two norms 4 D, projections 3 D in and 3 D out, rotation 4 D, attention 4 D, output 2 D, two sums 6 D; gate
    and up 2 D in and 2 I out, their product 5 I, down I in and D out.
    """
    return config.num_hidden_layers * positions * (29 * config.hidden_size + 8 * config.intermediate_size)


def _logits(vocabulary: int, asked: int) -> float:
    """Written once, read and written three times by softmax and choice, mostly in wider types (counted as two each)."""
    return 7 * asked * vocabulary
