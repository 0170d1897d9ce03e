"""How much memory a batch takes beside the weights, and how many samples fit.

Counted are the tensors that are alive together at the worst moment: while media are encoded, inside a transformer
layer, and while logits become tokens. They follow the code of this room and of sampling/confidence.py, and
tests/model/test_memory.py holds them against the allocations of real runs.

``T`` positions of all sequences, ``N`` of them asked about, ``D`` hidden size, ``K`` width of keys, ``I`` width of the
feed-forward, ``V`` vocabulary; all results are bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lladav_eval.model.checkpoint import empty_model
from lladav_eval.model.config import ModelConfig
from lladav_eval.model.counts import padded_image, tiled_image, video
from lladav_eval.model.kernels import LONG
from lladav_eval.model.language import PORTION_BYTES
from lladav_eval.model.lladav import tiles_at_once
from lladav_eval.records import DEFAULT_BATCH_SIZE, MOST_AT_ONCE, Prompt, SamplingParams

USABLE = 0.92
"""Share of free device memory to fill: the rest is for the allocator's gaps and the libraries' own buffers."""

_WIDE_ELEMENTS = {"cpu": 1 << 19}
"""Logits that the sampler widens at a time, 1 << 24 on other devices (sampling/confidence.py)."""

_INDEX_BYTES = 64
"""Ids, positions and rows of one position, as int64."""


@dataclass(frozen=True)
class PromptSize:
    """One sample as memory sees it."""

    positions: int
    """Of the whole sequence but the answer: prompt, media and suffix."""
    visual: int = 0
    """Positions that are media."""
    tiles: int = 0
    """Tiles or frames that go through the tower."""

    @classmethod
    def of(cls, prompt: Prompt, config: ModelConfig, suffix: int = 0) -> PromptSize:
        """The size of a prompt and of a suffix of so many tokens."""
        tiles = sum(len(medium) for medium in prompt.pixels)
        if prompt.layout == "video":
            visual = sum(video(config, len(medium))[1] for medium in prompt.pixels)
        elif prompt.layout == "anyres":
            visual = sum(tiled_image(config, size)[1] for size in prompt.image_sizes)
        else:
            visual = len(prompt.pixels) * padded_image(config)[1] if prompt.pixels else 0
        return cls(len(prompt.token_ids) - len(prompt.pixels) + visual + suffix, visual, tiles)


def weight_bytes(config: ModelConfig, vocabulary: int, dtype: torch.dtype) -> int:
    """The loaded weights."""
    model = empty_model(dataclasses.replace(config, vocab_size=vocabulary))
    twice = model.lm_head.weight.numel() if config.tied_embeddings else 0
    return (sum(parameter.numel() for parameter in model.parameters()) - twice) * dtype.itemsize


def batch_bytes(
    config: ModelConfig,
    vocabulary: int,
    prompts: Sequence[PromptSize],
    params: SamplingParams,
    dtype: torch.dtype,
    device: str = "cuda",
) -> int:
    """Peak of one batch beside the weights, on a ``device`` of that type."""
    visuals = sum(prompt.visual for prompt in prompts) * config.hidden_size * dtype.itemsize
    sequences = 2 if params.cfg_scale > 0 else 1
    lengths = sequences * [prompt.positions + params.gen_length for prompt in prompts]
    # Guidance's second sequence shows no media, but is as long.
    stored = _store_bytes(config, lengths, params) * dtype.itemsize
    transformer = _layer_bytes(config, lengths, params, dtype, device)
    logits = _logit_bytes(config, vocabulary, lengths, params, dtype, device)
    indices = _INDEX_BYTES * sum(lengths)
    return max(_encoding_bytes(config, prompts, dtype), visuals + stored + indices + max(transformer, logits))


def batch_that_fits(
    config: ModelConfig,
    vocabulary: int,
    prompt: PromptSize,
    params: SamplingParams,
    dtype: torch.dtype,
    free: int,
    most: int = 1024,
    device: str = "cuda",
) -> int:
    """The most such samples, up to ``most``, whose batch takes no more than ``USABLE`` of ``free`` bytes.

    0 if not even one does. ``free`` is what the device has left once the weights are loaded.
    """

    def fits(count: int) -> bool:
        return batch_bytes(config, vocabulary, [prompt] * count, params, dtype, device) <= USABLE * free

    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def at_once(config: ModelConfig, device: str) -> int:
    """Most samples that a run answers together on a ``device`` of that type where nobody says how many.

    A diffusion model on CUDA fills the memory (``free_bytes``).
    """
    return MOST_AT_ONCE if device == "cuda" and not config.causal else DEFAULT_BATCH_SIZE


def free_bytes(device: torch.device) -> int | None:
    """What is left of a CUDA device's memory, the allocator's own reserve included; None elsewhere."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def _encoding_bytes(config: ModelConfig, prompts: Sequence[PromptSize], dtype: torch.dtype) -> int:
    """Pixels to tokens, for all prompts of a batch."""
    tiles = sum(prompt.tiles for prompt in prompts)
    if not tiles:
        return 0
    vision, element = config.vision, dtype.itemsize
    patches = vision.grid**2
    pixels = tiles * 3 * vision.image_size**2 * 4
    rows = min(tiles, tiles_at_once(config)) * patches
    tower = rows * 2 * (vision.hidden_size + max(vision.intermediate_size, 2 * vision.hidden_size)) * element
    features = tiles * patches * config.hidden_size * element
    largest = max(prompt.tiles for prompt in prompts) * patches * config.hidden_size * element
    tokens = sum(prompt.visual for prompt in prompts) * config.hidden_size * element
    # The tower's last batch; joining all batches; arranging the last medium.
    return max(pixels + features + tower, pixels + 2 * features, pixels + features + tokens + 2 * largest)


def _store_bytes(config: ModelConfig, lengths: Sequence[int], params: SamplingParams) -> int:
    """Elements that an approximate cache, or a causal model, keeps of all sequences (model/cache.py)."""
    if params.cache is None and not config.causal:
        return 0
    held = params.gen_length if params.cache is not None and params.cache.startswith("dllm") else 0
    per_layer = sum(2 * length * _key_width(config) + 2 * held * config.hidden_size for length in lengths)
    return config.num_hidden_layers * per_layer


def _layer_bytes(
    config: ModelConfig, lengths: Sequence[int], params: SamplingParams, dtype: torch.dtype, device: str
) -> int:
    """The worst moment inside a layer that computes every position (the first pass of a cached mode is one)."""
    size, keys, inner, total = config.hidden_size, _key_width(config), config.intermediate_size, sum(lengths)
    element = dtype.itemsize
    rotary = total * (size // config.num_attention_heads) * element
    rows = min(
        total, max(256, PORTION_BYTES.get(device, 1 << 26) // (size * element))
    )  # that pass through the linear parts together
    joined = 0 if rows == total else total
    if params.cache is not None and params.cache.startswith("dllm"):  # everything at once
        # The embeddings, the layer's input, mixed values, input plus attention, and rotation's halves.
        held = 9 * size // 2
        feed_forward = held + 3 * size + 2 * inner  # normed twice, gathered rows
        attending = total * held
        if device == "cpu" and element == 4:  # kernels.reproducible_attention
            short = max((length for length in lengths if length < LONG), default=0)
            attending += 5 * config.num_attention_heads * short**2
        return max(total * feed_forward, total * (held + 8 * size // element), attending) * element + rotary
    projections = size + 2 * keys
    # Embeddings and input, which are one where layers write over their input portion by portion.
    inputs = size if joined else 2 * size
    # Results of all portions; normed input, and what rotation needs beside its results.
    norm_and_rotation = max(7 * size // 2, 8 * size // element)
    projecting = total * inputs + joined * projections + rows * (norm_and_rotation + projections)
    attending = total * (inputs + size + projections)
    if len(lengths if params.cache else set(lengths)) > 1:  # they attend one after another, and results are joined
        attending += total * size
    # Mixed values too; input plus attention, its norm, gate and up.
    after = total * (inputs + size) + rows * max(2 * size + 2 * inner, size + 8 * size // element)
    return max(projecting, attending, after) * element + rotary


def _logit_bytes(
    config: ModelConfig,
    vocabulary: int,
    lengths: Sequence[int],
    params: SamplingParams,
    dtype: torch.dtype,
    device: str,
) -> int:
    """Logits in the weights' type and in float32, then the sampler's pieces and their softmax in float64."""
    element, size = dtype.itemsize, config.hidden_size
    asked = len(lengths) * (1 if config.causal else params.block_length)
    scores = asked * vocabulary
    computing = (sum(lengths) + asked) * size * element + scores * (4 if element == 4 else element + 4)
    at_once = max(_WIDE_ELEMENTS.get(device, 1 << 24), vocabulary)
    if params.temperature > 0:  # one sample at a time: its noise, and what is made of it
        drawn = params.block_length * vocabulary
        widened = drawn * 8 + min(drawn, at_once) * (8 + 8 + 8)
    else:
        widened = min(scores, at_once) * (8 + 4 + 8)  # the piece before, and the next one before and after
    if params.cfg_scale > 0:
        widened += min(scores, at_once) * 4
    return max(computing, scores * 4 + widened)


def _key_width(config: ModelConfig) -> int:
    return config.hidden_size // config.num_attention_heads * config.num_key_value_heads
