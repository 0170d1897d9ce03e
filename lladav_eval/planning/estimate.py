"""Time, memory and the best batch size of a workload on a device.

A batch of n like samples takes, for each forward pass,

    max(n F / (peak x utilisation), (W + n A) / bandwidth) + O d + n h

with F operations and A bytes of a sample's pass, W bytes of the transformer's weights, O operations to start at d
seconds each, and h seconds for the sampler's work on one sample. The tower adds its operations at the same utilisation.
Media are decoded beside the model and not counted; neither are loading and compiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from lladav_eval.model.config import ModelConfig
from lladav_eval.model.flops import tile_flops
from lladav_eval.model.memory import at_once, batch_bytes, batch_that_fits, weight_bytes
from lladav_eval.planning.hardware import GIB, Hardware
from lladav_eval.planning.passes import Pass, passes
from lladav_eval.planning.workload import Workload
from lladav_eval.records import MOST_AT_ONCE

OPERATIONS_PER_LAYER = 40
"""Kernels that one layer starts."""
SAMPLER_SECONDS = 2e-4
"""Python and small kernels for one sample at one step; about what the pocket suite takes on a CPU."""
GOOD_ENOUGH = 1.02
"""A smaller batch is preferred to one that is faster by less than this."""

Bound = Literal["compute", "bandwidth", "overhead"]


@dataclass(frozen=True)
class Estimate:
    """One task on one device; sums are over all rows."""

    task: str
    rows: int
    rows_read: int
    """0 where the sample was assumed."""
    note: str | None
    """What was assumed in place of rows, or which rows couldn't be read."""
    prompt_tokens: float
    """Mean positions of a prompt, media included."""
    prompt_tokens_max: int
    visual_tokens: float
    tiles: float
    gen_length: int
    steps: int
    approximate: bool
    upper_bound: bool
    """True if the number of passes depends on the answers and is the most they can take."""
    forward_passes: float
    """Of one sample; guidance counts two a step."""
    flops_per_sample: float
    flops: float
    batch_size: int
    """Samples that a run has at once; 0 if not even one fits."""
    best_batch_size: int
    """The smallest within ``GOOD_ENOUGH`` of the fastest one that fits; 0 if none does."""
    batch_limit: int
    """The largest that fits, up to ``records.MOST_AT_ONCE``, or what was asked for, and the number of rows."""
    weights_bytes: int
    memory_bytes: int
    """Weights and the peak of a batch of the longest samples."""
    seconds: float | None
    """None if nothing fits."""
    bound: Bound | None
    """What most of the time goes into; overhead is starting operations, and the sampler."""


def estimate(
    work: Workload,
    config: ModelConfig,
    vocabulary: int,
    hardware: Hardware,
    dtype: torch.dtype,
    batch_size: int | None = None,
) -> Estimate:
    """Everything about one task; ``batch_size`` is what a run is told, by itself it takes ``model.memory.at_once``."""
    keeps = hardware.keeps_first_layer and dtype == torch.float32
    samples = [passes(config, vocabulary, prompt.positions, work.params, keeps) for prompt in work.prompts]
    count = len(work.prompts)
    tower = tile_flops(config) * sum(prompt.tiles for prompt in work.prompts) / count if config.vision.grid else 0.0
    flops = tower + sum(one.flops for sample in samples for one in sample) / count
    longest = max(work.prompts, key=lambda prompt: (prompt.positions, prompt.tiles))
    weights = weight_bytes(config, vocabulary, dtype)
    free = int(hardware.memory * GIB) - weights
    most = min(max(MOST_AT_ONCE, batch_size or 0), work.rows)
    limit = batch_that_fits(config, vocabulary, longest, work.params, dtype, max(0, free), most, device=hardware.device)
    timer = _Timer(config, vocabulary, hardware, dtype, _mean_passes(samples), tower)
    chosen = min(batch_size or at_once(config, hardware.device), limit)
    batch = [longest] * max(1, chosen)
    sequences = 2 if work.params.cfg_scale > 0 else 1
    return Estimate(
        task=work.task,
        rows=work.rows,
        rows_read=0 if work.assumed else count,
        note=work.note,
        prompt_tokens=sum(prompt.positions for prompt in work.prompts) / count,
        prompt_tokens_max=longest.positions,
        visual_tokens=sum(prompt.visual for prompt in work.prompts) / count,
        tiles=sum(prompt.tiles for prompt in work.prompts) / count,
        gen_length=work.params.gen_length,
        steps=work.params.steps,
        approximate=work.params.approximate,
        upper_bound=work.params.threshold is not None or work.params.early_commit is not None,
        forward_passes=sequences * sum(map(len, samples)) / count,
        flops_per_sample=flops,
        flops=flops * work.rows,
        batch_size=chosen,
        best_batch_size=_best(timer, limit, work.rows),
        batch_limit=limit,
        weights_bytes=weights,
        memory_bytes=weights + batch_bytes(config, vocabulary, batch, work.params, dtype, hardware.device),
        seconds=timer.seconds(work.rows, chosen) if chosen else None,
        bound=timer.bound(chosen) if chosen else None,
    )


def _mean_passes(samples: Sequence[Sequence[Pass]]) -> list[Pass]:
    """The passes of the average sample, step by step; all samples take equally many."""
    return [
        Pass(sum(one.flops for one in step) / len(step), sum(one.elements for one in step) / len(step))
        for step in zip(*samples, strict=True)
    ]


def _best(timer: _Timer, limit: int, rows: int) -> int:
    """The smallest batch within ``GOOD_ENOUGH`` of the fastest one that fits."""
    if limit == 0:
        return 0
    sizes = sorted({limit, *(2**power for power in range(limit.bit_length()))})
    times = {size: timer.seconds(rows, size) for size in sizes}
    return next(size for size in sizes if times[size] <= GOOD_ENOUGH * min(times.values()))


class _Timer:
    """Seconds by batch size."""

    def __init__(
        self,
        config: ModelConfig,
        vocabulary: int,
        hardware: Hardware,
        dtype: torch.dtype,
        steps: Sequence[Pass],
        tower: float,
    ) -> None:
        self.rate = hardware.peak(dtype) * hardware.utilisation
        self.bandwidth = 1e9 * hardware.bandwidth
        self.element = dtype.itemsize
        self.weights = _transformer_parameters(config, vocabulary) * self.element
        self.starting = hardware.dispatch * OPERATIONS_PER_LAYER * config.num_hidden_layers
        self.steps = steps
        self.tower = tower

    def parts(self, batch: int) -> dict[Bound, float]:
        """Seconds of one batch, by what they go into."""
        found: dict[Bound, float] = {"compute": self.tower * batch / self.rate, "bandwidth": 0.0}
        for step in self.steps:
            computing = batch * step.flops / self.rate
            moving = (self.weights + batch * step.elements * self.element) / self.bandwidth
            found["compute" if computing >= moving else "bandwidth"] += max(computing, moving)
        found["overhead"] = len(self.steps) * (self.starting + batch * SAMPLER_SECONDS)
        return found

    def seconds(self, rows: int, batch: int) -> float:
        """All rows: whole batches and a last one that is smaller."""
        whole, rest = divmod(rows, batch)
        last = sum(self.parts(rest).values()) if rest else 0.0
        return whole * sum(self.parts(batch).values()) + last

    def bound(self, batch: int) -> Bound:
        parts = self.parts(batch)
        return max(parts, key=lambda name: parts[name])


def _transformer_parameters(config: ModelConfig, vocabulary: int) -> float:
    """What every pass reads: all layers and the head, without embeddings and tower."""
    size = config.hidden_size
    keys = size // config.num_attention_heads * config.num_key_value_heads
    layer = 2 * size * size + 2 * size * keys + 3 * size * config.intermediate_size
    return config.num_hidden_layers * layer + size * vocabulary
