"""Floating-point operations of the model, counted from its config.

A multiplication and an addition are two operations. Counted are matrix products, the patch convolution and attention
(scores and mixing): all that ``torch.utils.flop_counter`` counts. Norms, rotary positions, activations and resizing are
left out, as is usual; they are well below 1 % at the sizes of the official checkpoint.

``L`` positions of a sequence, ``N`` positions whose output is wanted, ``D`` hidden size, ``K`` width of keys, ``I``
width of the feed-forward, ``V`` vocabulary:

    a layer but the last    2 L (2 D D + 2 D K) + 4 L L D + 6 L D I
    the last layer          2 N 2 D D + 2 L 2 D K + 4 N L D + 6 N D I
    the head                2 N D V

Where the first layer keeps what a prompt doesn't change (model/first_layer.py), ``kept_flops`` is taken off every pass
after the first. That is decided per batch: beside a short prompt, or too many long ones, nothing is kept.

A layer that reuses stored states computes what ``Work`` says instead of L or N positions.

Causal attention is counted whole, as kernels that skip the unseen half differ; so it is in the flop counter.
"""

from __future__ import annotations

from dataclasses import dataclass

from lladav_eval.model.config import ModelConfig


@dataclass(frozen=True)
class Work:
    """How many positions of one sequence are computed in a forward pass that reuses stored states."""

    length: int
    computed: int
    """Keys, queries, attention and feed-forward in every layer but the last."""
    computed_last: int
    """Queries, attention and feed-forward in the last layer."""
    values: int
    """Values in every layer."""
    wanted: int
    """Logits."""


def query_flops(config: ModelConfig, length: int, wanted: int, vocabulary: int) -> float:
    """One forward pass of the transformer for one sequence of ``length``, with logits at ``wanted`` positions."""
    size, inner = config.hidden_size, config.intermediate_size
    keys = size // config.num_attention_heads * config.num_key_value_heads

    def layer(computed: int) -> float:
        projections = 2 * computed * 2 * size * size + 2 * length * 2 * size * keys
        return projections + 4 * computed * length * size + 6 * computed * size * inner

    return (config.num_hidden_layers - 1) * layer(length) + layer(wanted) + 2 * wanted * size * vocabulary


def kept_flops(config: ModelConfig, prompt: int) -> float:
    """What one forward pass saves by what the first layer has kept of a prompt (model/first_layer.py)."""
    return 4 * prompt * prompt * config.hidden_size


def tile_flops(config: ModelConfig) -> float:
    """The tower and the connector for one tile or frame."""
    vision = config.vision
    size, patches = vision.hidden_size, vision.grid**2
    layer = 8 * patches * size * size + 4 * patches * patches * size + 4 * patches * size * vision.intermediate_size
    embedding = 2 * patches * 3 * vision.patch_size**2 * size
    connector = 2 * patches * (size + (config.projector_depth - 1) * config.hidden_size) * config.hidden_size
    return embedding + (vision.num_hidden_layers - 1) * layer + connector


def reusing_flops(config: ModelConfig, work: Work, vocabulary: int) -> float:
    """One forward pass for one sequence in an approximate mode, or by a causal model."""
    size, inner = config.hidden_size, config.intermediate_size
    keys = size // config.num_attention_heads * config.num_key_value_heads
    per_position = 4 * size * size + 4 * work.length * size + 6 * size * inner
    layers = config.num_hidden_layers
    states = layers * 2 * size * keys * (work.computed + work.values)
    rest = ((layers - 1) * work.computed + work.computed_last) * per_position
    return states + rest + 2 * work.wanted * size * vocabulary
