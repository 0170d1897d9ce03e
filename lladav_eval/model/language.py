"""LLaDA's transformer: RMSNorm, rotary positions, SwiGLU, attention in both directions.

Sequences of a batch are packed one behind another, so no position is ever computed for padding:
``T`` is the total number of positions, ``D`` the hidden size, ``H`` heads of ``K`` dimensions,
``N`` the number of positions whose output is wanted, ``V`` the vocabulary.

Source: train/llava/model/language_model/modeling_llada.py of the authors (parameter names are theirs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lladav_eval.model.config import ModelConfig
from lladav_eval.model.kernels import Linear, attention

PORTION_BYTES = {"cpu": 1 << 20}
"""Input of a layer that goes through its linear parts at a time, 64 MB on other devices; at least 256 rows."""


@dataclass(frozen=True)
class AttentionGroup:
    """Sequences that attend together because they share their number of queries and of keys."""

    queries: Tensor
    """(sequences, queries) int64: rows of the packed query tensor."""
    keys: Tensor
    """(sequences, keys) int64: rows of the packed key tensor."""
    whole: bool
    """True if the group is the entire packed batch in order, so that a view replaces gathering."""
    visible: Tensor | None = None
    """(sequences, 1, queries, keys) bool: what may be attended to; None is everything (or the causal half)."""


@dataclass(frozen=True)
class PackedLayout:
    """Where each sequence of a packed batch lies, and which positions must come out."""

    positions: Tensor
    """(T,) position of every packed row inside its own sequence, for the rotary embedding."""
    all_groups: tuple[AttentionGroup, ...]
    """Groups for layers that compute every position."""
    outputs: Tensor
    """(N,) packed rows whose output is wanted, sequence by sequence."""
    output_groups: tuple[AttentionGroup, ...]
    """Groups for the last layer, which computes queries at ``outputs`` only."""

    @classmethod
    def build(
        cls,
        lengths: Sequence[int],
        outputs: Sequence[Tensor],
        device: torch.device,
        turns: Sequence[Tensor] | None = None,
    ) -> PackedLayout:
        """Lay out sequences of ``lengths``; ``outputs[i]`` are the wanted positions of sequence i.

        ``turns[i]`` (length,) numbers the dialogue turn of each position for training on dialogues: a position
        then sees its own and earlier turns only (``_build_conversation_mask_optimized`` of the authors).
        """
        starts = [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        spans = [torch.arange(length) for length in lengths]
        rows = [span + start for span, start in zip(spans, starts, strict=False)]
        wanted = [output.cpu() + start for output, start in zip(outputs, starts, strict=False)]
        query_rows, offset = [], 0
        for output in wanted:
            query_rows.append(torch.arange(offset, offset + len(output)))
            offset += len(output)
        return cls(
            positions=torch.cat(spans).to(device),
            all_groups=_group(rows, rows, device, turns, turns),
            outputs=torch.cat(wanted).to(device),
            output_groups=_group(
                query_rows,
                rows,
                device,
                turns and [turn[output.cpu()] for turn, output in zip(turns, outputs, strict=True)],
                turns,
            ),
        )


def _group(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    device: torch.device,
    query_turns: Sequence[Tensor] | None,
    key_turns: Sequence[Tensor] | None,
) -> tuple[AttentionGroup, ...]:
    by_shape: dict[tuple[int, int], list[int]] = {}
    for index, (query, key) in enumerate(zip(queries, keys, strict=True)):
        if len(query):
            by_shape.setdefault((len(query), len(key)), []).append(index)
    whole = len(by_shape) == 1 and len(next(iter(by_shape.values()))) == len(keys)
    groups = []
    for members in by_shape.values():
        visible = None
        if query_turns is not None and key_turns is not None:
            seen = [key_turns[i][None, :] <= query_turns[i][:, None] for i in members]
            visible = torch.stack(seen)[:, None].to(device)
        groups.append(
            AttentionGroup(
                torch.stack([queries[i] for i in members]).to(device),
                torch.stack([keys[i] for i in members]).to(device),
                whole,
                visible,
            )
        )
    return tuple(groups)


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 whatever the weights' type."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:  # one fused kernel; below, the authors' order of roundings for half precision
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def rotary_table(positions: Tensor, head_size: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, 1, K/2), computed in float32 and then cast, as the authors do."""
    exponents = torch.arange(0, head_size, 2, device=positions.device).float() / head_size
    angles = (positions.float()[:, None] * (1.0 / theta**exponents))[:, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (T, H, K) by position; the halves of K are the pairs."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(nn.Module):
    """Multi-head attention inside each packed sequence."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, bias = config.hidden_size, config.attention_bias
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_size = size // self.heads
        self.causal = config.causal
        self.q_proj = Linear(size, self.heads * self.head_size, bias=bias)
        self.k_proj = Linear(size, self.kv_heads * self.head_size, bias=bias)
        self.v_proj = Linear(size, self.kv_heads * self.head_size, bias=bias)
        self.o_proj = Linear(self.heads * self.head_size, size, bias=bias)

    def queries(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotated queries (N, H, K) of normed ``x`` (N, D)."""
        return rotate(self.q_proj(x).unflatten(-1, (self.heads, self.head_size)), cos, sin)

    def keys_and_values(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated keys and values (T, G, K) of normed ``x`` (T, D)."""
        k = rotate(self.k_proj(x).unflatten(-1, (self.kv_heads, self.head_size)), cos, sin)
        return k, self.v_proj(x).unflatten(-1, (self.kv_heads, self.head_size))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, groups: Sequence[AttentionGroup]) -> Tensor:
        """Attention of queries (N, H, K) to all keys and values (T, G, K) of their sequence: (N, H, K).

        May overwrite ``q``.
        """
        if len(groups) == 1 and groups[0].whole:
            return self._attend(q, k, v, groups[0]).flatten(0, 1)
        mixed = torch.empty_like(q)
        for group in groups:
            mixed = mixed.index_put((group.queries,), self._attend(q, k, v, group))
        return mixed

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, group: AttentionGroup) -> Tensor:
        """(sequences, queries, H, K) for one group of packed (rows, H, K) tensors."""
        sequences = len(group.queries)
        if group.whole:
            q, k, v = (t.unflatten(0, (sequences, -1)).transpose(1, 2) for t in (q, k, v))
        else:
            q = q[group.queries].transpose(1, 2)
            k, v = k[group.keys].transpose(1, 2), v[group.keys].transpose(1, 2)
        return attention(q, k, v, group.visible, self.causal, overwrite_q=True).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate_proj(x)
        if torch.is_grad_enabled():
            return self.down_proj(F.silu(gate) * self.up_proj(x))
        return self.down_proj(F.silu(gate, inplace=True).mul_(self.up_proj(x)))


class Layer(nn.Module):
    """Pre-norm attention and feed-forward with residuals."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        groups: Sequence[AttentionGroup],
        wanted: Tensor | None = None,
    ) -> Tensor:
        if wanted is None:
            q, k, v = self.project(x, *rotary)
        else:
            k, v = by_portions(self._keys_and_values, x, *rotary, order=HEADS_FIRST)
            x, table = x[wanted], (rotary[0][wanted], rotary[1][wanted])
            q = self.self_attn.queries(self.input_layernorm(x), *table)
        mixed = self.self_attn.mix(q, k, v, groups)
        del q, k, v
        return self.after_attention(x, mixed)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (T, heads, K) of the layer's input (T, D)."""
        q, k, v = by_portions(self._project, x, cos, sin, order=HEADS_FIRST)
        return q, k, v

    def after_attention(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The rest of the layer, from its input (N, D) and the mixed values of its heads (N, H, K).

        The result may take the input's place in memory.
        """
        (out,) = by_portions(self._after_attention, x, mixed, into=(x,))
        return out

    def _project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
        normed = self.input_layernorm(x)
        return self.self_attn.queries(normed, cos, sin), *self.self_attn.keys_and_values(normed, cos, sin)

    def _keys_and_values(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
        return self.self_attn.keys_and_values(self.input_layernorm(x), cos, sin)

    def _after_attention(self, x: Tensor, mixed: Tensor) -> tuple[Tensor, ...]:
        x = x + self.self_attn.o_proj(mixed.flatten(1))
        return (x + self.mlp(self.post_attention_layernorm(x)),)


HEADS_FIRST = (1, 0, 2)
"""Order in memory of (rows, heads, K) tensors in which each head is read as a whole."""


def by_portions(
    run: Callable[..., tuple[Tensor, ...]],
    *inputs: Tensor,
    order: tuple[int, ...] | None = None,
    into: tuple[Tensor, ...] | None = None,
) -> tuple[Tensor, ...]:
    """``run(*inputs)``, which treats every row alone, some rows at a time where no gradients are wanted.

    What ``run`` makes on its way to its results then never exists for all rows: that saves memory, and on a CPU time.
    Results put together from portions lie in memory with their dimensions in ``order``, or in ``into``, which may be
    inputs.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return run(*inputs)
    rows, device = len(inputs[0]), inputs[0].device.type
    count = max(256, PORTION_BYTES.get(device, 1 << 26) // (inputs[0][0].numel() * inputs[0].element_size()))
    if rows <= count:
        return run(*inputs)
    outputs = into or ()
    for start in range(0, rows, count):
        results = run(*(tensor[start : start + count] for tensor in inputs))
        if not outputs:
            outputs = tuple(empty_ordered((rows, *result.shape[1:]), order, result) for result in results)
        for output, result in zip(outputs, results, strict=True):
            output[start : start + count] = result
        del results, result  # so that the next portion's take their place
    return outputs


def empty_ordered(shape: tuple[int, ...], order: tuple[int, ...] | None, like: Tensor) -> Tensor:
    """An unfilled tensor of ``like``'s type and device whose dimensions lie in memory in ``order``."""
    order = tuple(range(len(shape))) if order is None else order
    return torch.empty_permuted(shape, order, dtype=like.dtype, device=like.device)


RunFirst = Callable[["Layer", Tensor, tuple[Tensor, Tensor]], Tensor]
"""Another way to run the first layer: (layer, packed embeddings, rotary table) -> its output (T, D)."""


def run_layers(
    layers: Sequence[nn.Module],
    norm: nn.Module,
    x: Tensor,
    layout: PackedLayout,
    config: ModelConfig,
    run_first: RunFirst | None = None,
) -> Tensor:
    """Hidden states (N, D) at ``layout.outputs`` of packed embeddings ``x`` (T, D).

    Nothing reads the last layer's other positions, so it computes keys and values everywhere but queries and
    feed-forward only where output is wanted. A causal model computes all, for its attention kernel's sake.
    """
    head_size = config.hidden_size // config.num_attention_heads
    rotary = rotary_table(layout.positions, head_size, config.rope_theta, x.dtype)
    middle = list(layers[:-1])
    if run_first is not None and middle:
        x = run_first(cast("Layer", middle.pop(0)), x, rotary)
    for layer in middle:
        x = layer(x, rotary, layout.all_groups)
    if config.causal:
        x = layers[-1](x, rotary, layout.all_groups)[layout.outputs]
    else:
        x = layers[-1](x, rotary, layout.output_groups, layout.outputs)
    hidden: Tensor = norm(x)
    return hidden
