"""LLaDA's transformer: RMSNorm, rotary positions, SwiGLU, attention in both directions.

Sequences of a batch are packed one behind another, so no position is ever computed for padding:
``T`` is the total number of positions, ``D`` the hidden size, ``H`` heads of ``K`` dimensions,
``N`` the number of positions whose output is wanted, ``V`` the vocabulary.

Source: train/llava/model/language_model/modeling_llada.py of the authors (parameter names are theirs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lladav_eval.model.config import ModelConfig
from lladav_eval.model.kernels import Linear, attention

PORTION_BYTES = {"cpu": 1 << 20}
"""Input of a layer that goes through its linear parts at a time, 64 MB on other devices; at least 256 rows."""


@dataclass(frozen=True)
class AttentionGroup:
    """Neighbouring sequences that attend together, as they have equally many queries and equally many keys."""

    sequences: int
    queries: slice
    """Rows of the packed query tensor."""
    keys: slice
    """Rows of the packed key tensor."""
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

    def mixes(self, config: ModelConfig) -> list[Mix]:
        """The attention of each layer."""
        inner: Mix = partial(mix_groups, groups=self.all_groups, causal=config.causal)
        last: Mix = partial(mix_groups, groups=self.output_groups, causal=False)
        return [inner] * (config.num_hidden_layers - 1) + [inner if config.causal else last]

    @classmethod
    def build(
        cls,
        lengths: Sequence[int],
        outputs: Sequence[Tensor],
        device: torch.device,
        turns: Sequence[Tensor] | None = None,
    ) -> PackedLayout:
        """Lay out sequences of ``lengths``; ``outputs[i]`` are the wanted positions of sequence i.

        Only neighbours share a group, so sequences are best sorted by length and number of outputs.

        ``turns[i]`` (length,) numbers the dialogue turn of each position for training on dialogues: a position
        then sees its own and earlier turns only (``_build_conversation_mask_optimized`` of the authors).
        """
        starts = accumulate(lengths, initial=0)
        wanted = [output.cpu() for output in outputs]
        output_turns = turns and [turn[output] for turn, output in zip(turns, wanted, strict=True)]
        return cls(
            positions=torch.cat([torch.arange(length) for length in lengths]).to(device),
            all_groups=tuple(_groups(lengths, lengths, device, turns, turns)),
            outputs=torch.cat([output + start for output, start in zip(wanted, starts, strict=False)]).to(device),
            output_groups=tuple(_groups([len(output) for output in wanted], lengths, device, output_turns, turns)),
        )


def _groups(
    queries: Sequence[int],
    keys: Sequence[int],
    device: torch.device,
    query_turns: Sequence[Tensor] | None,
    key_turns: Sequence[Tensor] | None,
) -> Iterator[AttentionGroup]:
    """Groups of sequences with these numbers of queries and keys; those without queries are in none."""
    sequence = query = key = 0
    for (query_count, key_count), members in groupby(zip(queries, keys, strict=True)):
        count = len(list(members))
        ends = query + count * query_count, key + count * key_count
        visible = None
        if query_turns is not None and key_turns is not None:
            seen = [key_turns[i] <= query_turns[i][:, None] for i in range(sequence, sequence + count)]
            visible = torch.stack(seen)[:, None].to(device)
        if query_count:
            yield AttentionGroup(count, slice(query, ends[0]), slice(key, ends[1]), visible)
        sequence += count
        query, key = ends


Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of packed queries (N, H, K) to keys and values (T, G, K): (N, H, K); may overwrite the queries."""


def mix_groups(q: Tensor, k: Tensor, v: Tensor, *, groups: Sequence[AttentionGroup], causal: bool) -> Tensor:
    """A ``Mix`` in which every sequence attends to itself."""

    def attend(group: AttentionGroup) -> Tensor:
        packed = (q[group.queries], k[group.keys], v[group.keys])
        queries, keys, values = (rows.unflatten(0, (group.sequences, -1)).transpose(1, 2) for rows in packed)
        mixed = attention(queries, keys, values, group.visible, causal, overwrite_q=True)
        return mixed.transpose(1, 2).flatten(0, 1)

    mixed = [attend(group) for group in groups]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed or [q])


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 whatever the weights' type."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        # In half precision the authors round before they multiply by the weights.
        return self.weight * F.rms_norm(x, self.weight.shape, None, self.eps)


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
        mix: Mix,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Output (T, D) of packed ``x`` (T, D), or (N, D) at the ``wanted`` rows; may take the input's place."""
        if wanted is None:
            q, k, v = by_portions(self._project, x, *rotary)
        else:
            k, v = by_portions(self._keys_and_values, x, *rotary)
            x, table = x[wanted], (rotary[0][wanted], rotary[1][wanted])
            q = self.self_attn.queries(self.input_layernorm(x), *table)
        mixed = mix(q, k, v)
        del q, k, v
        (out,) = by_portions(self._after_attention, x, mixed, into=(x,))
        return out

    def compile_rows(self) -> None:
        """From now on run what treats every row alone, that is all but attention, through ``torch.compile``."""
        for name in ("_project", "_keys_and_values", "_after_attention"):
            setattr(self, name, torch.compile(getattr(self, name), dynamic=True))

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
    into: tuple[Tensor, ...] | None = None,
) -> tuple[Tensor, ...]:
    """``run(*inputs)``, which treats every row alone, some rows at a time where no gradients are wanted.

    What ``run`` makes on its way to its results then never exists for all rows: that saves memory, and on a CPU time.
    Results put together from portions are (rows, heads, K) and lie in memory ``HEADS_FIRST``, or in ``into``, which
    may be inputs.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return run(*inputs)
    rows, device = len(inputs[0]), inputs[0].device.type
    count = max(256, PORTION_BYTES.get(device, 1 << 26) // (inputs[0].shape[1:].numel() * inputs[0].element_size()))
    if rows <= count:
        return run(*inputs)
    outputs = into or ()
    for start in range(0, rows, count):
        results = run(*(tensor[start : start + count] for tensor in inputs))
        if not outputs:
            outputs = tuple(
                torch.empty_permuted((rows, *result.shape[1:]), HEADS_FIRST, dtype=result.dtype, device=result.device)
                for result in results
            )
        for output, result in zip(outputs, results, strict=True):
            output[start : start + count] = result
        del results, result  # so that the next portion's take their place
    return outputs


def run_layers(
    layers: Sequence[nn.Module],
    norm: nn.Module,
    x: Tensor,
    positions: Tensor,
    mixes: Sequence[Mix],
    outputs: Tensor,
    config: ModelConfig,
    whole: bool = False,
) -> Tensor:
    """Hidden states (N, D) at the rows ``outputs`` (N,) of packed embeddings ``x`` (T, D) at ``positions`` (T,).

    ``mixes`` has the attention of each layer. Nothing reads the last layer's other positions, so it computes keys and
    values everywhere but queries and feed-forward only where output is wanted; all of them with ``whole``.
    """
    rotary = rotary_table(positions, config.hidden_size // config.num_attention_heads, config.rope_theta, x.dtype)
    for layer, mix in zip(layers[:-1], mixes[:-1], strict=True):
        x = layer(x, rotary, mix)
    x = layers[-1](x, rotary, mixes[-1])[outputs] if whole else layers[-1](x, rotary, mixes[-1], outputs)
    hidden: Tensor = norm(x)
    return hidden
