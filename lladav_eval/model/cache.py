"""Stored states of sequences, and the forward pass that computes only a part of them (records.Reuse says which).

Every sequence has its own store; keys, values and attention are computed sequence by sequence, so that a batch can't
change an answer. Queries, output projection and feed-forward run over the packed rows of all sequences.

Only positions that are fresh or held have a state at a step: they are the rows of the packed tensors, ``S`` in all.
``D`` is the hidden size, ``H`` the number of key-value heads of ``K`` dimensions, ``L`` the length of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lladav_eval.model import kernels
from lladav_eval.model.config import ModelConfig
from lladav_eval.model.flops import Work
from lladav_eval.model.language import Layer, rotary_table, rotate
from lladav_eval.records import Query, Reuse


@dataclass
class LayerStore:
    """What one layer left behind for one sequence."""

    keys: Tensor
    """(H, L, K), rotated."""
    values: Tensor
    """(H, L, K)."""
    attention: Tensor
    """(h, D): outputs at the held positions."""
    feed_forward: Tensor
    """(h, D): outputs at the held positions."""


@dataclass
class SequenceStore:
    """The layers of one sequence; the memory it takes is 4 L H K bytes a layer in 16 bits."""

    layers: list[LayerStore]

    @classmethod
    def empty(cls, config: ModelConfig, length: int, held: int, like: Tensor) -> SequenceStore:
        size = config.hidden_size // config.num_attention_heads

        def layer() -> LayerStore:
            keys, values = (like.new_empty(config.num_key_value_heads, length, size) for _ in range(2))
            return LayerStore(keys, values, *(like.new_empty(held, config.hidden_size) for _ in range(2)))

        return cls([layer() for _ in range(config.num_hidden_layers)])

    def reserve(self, length: int) -> None:
        """Make room for keys and values of ``length`` positions, and of some that will follow."""
        room = self.layers[0].keys.shape[1]
        if length > room:
            more = max(length - room, _ROOM)
            for layer in self.layers:
                layer.keys, layer.values = (F.pad(states, (0, 0, 0, more)) for states in (layer.keys, layer.values))


_ROOM = 32
"""Positions that a growing store has room for."""


@dataclass(frozen=True)
class Part:
    """One sequence of a packed step; tensors of rows and positions are int64 on the model's device."""

    store: SequenceStore
    states: Tensor
    """(s,) positions that have a state, ascending."""
    places: Tensor | slice
    """The same as an index, which is quicker where they are neighbours."""
    fresh: Tensor
    """(m,) packed rows computed in every layer."""
    needed: Tensor
    """(m',) packed rows that the last layer must compute: of the fresh ones, those held or asked about."""
    held: Tensor
    """(h,) packed rows whose outputs are stored."""
    waiting: Tensor
    """(w,) packed rows that are held but not fresh, all the held ones or none; of them ``transfers`` are computed."""
    transfers: int
    start: int
    """Packed row of the first state."""
    end: int
    """Position after the last state."""
    outputs: Tensor
    """(n,) packed rows whose output is wanted."""

    @classmethod
    def build(cls, query: Query, store: SequenceStore, start: int, device: torch.device) -> Part:
        """Lay out ``query`` from packed row ``start`` on.

        Raises:
            ValueError: if a position is asked about that has no state, or held positions are fresh in part.
        """
        reuse = query.reuse
        if reuse is None:
            raise ValueError("a query without reuse needs no store")
        states = states_of(reuse)
        fresh, held, asked = (torch.isin(states, positions) for positions in (reuse.fresh, reuse.held, query.positions))
        waiting = held & ~fresh
        if int(asked.sum()) != len(query.positions) or (waiting.any() and (held & fresh).any()):
            raise ValueError("asked positions need a state, and held ones must be fresh together")
        kinds = [fresh, fresh & (held | asked), held, waiting, asked]
        rows = [states, *(kind.nonzero().squeeze(1) + start for kind in kinds)]
        # Sent together, as a GPU is waited for each time.
        sent = torch.cat(rows).to(device).split_with_sizes([len(some) for some in rows])
        on_device, fresh_rows, needed, held_rows, waiting_rows, outputs = sent
        first, end = int(states[0]), int(states[-1]) + 1
        places = slice(first, end) if len(states) == end - first else on_device
        return cls(
            store, on_device, places, fresh_rows, needed, held_rows, waiting_rows, reuse.transfers, start, end, outputs
        )

    def positions(self, rows: Tensor) -> Tensor:
        """Positions in the sequence of packed ``rows`` of this part."""
        return self.states[rows - self.start]

    def work(self, length: int) -> Work:
        """What one forward pass computes of this sequence of ``length`` positions."""
        fresh, needed, waiting = len(self.fresh), len(self.needed), len(self.waiting)
        return _work(length, fresh, needed, waiting, self.transfers, len(self.outputs))


def states_of(reuse: Reuse) -> Tensor:
    """(s,) int64, ascending: positions that have a state, the fresh and the held ones."""
    return torch.cat((reuse.fresh, reuse.held)).unique()


def work_at_states(query: Query, states: int) -> Work:
    """What one forward pass computes of a sequence whose last layer has outputs at all of its ``states``."""
    reuse = cast("Reuse", query.reuse)
    fresh = len(reuse.fresh)
    return _work(len(query.token_ids), fresh, fresh, states - fresh, reuse.transfers, len(query.positions))


def _work(length: int, fresh: int, needed: int, waiting: int, transfers: int, outputs: int) -> Work:
    """From the numbers of rows of each kind, as ``Part`` has them."""
    computed = fresh + transfers
    return Work(length, computed, needed + transfers, computed + (waiting if transfers else 0), outputs)


def mix_stored(
    q: Tensor, k: Tensor, v: Tensor, *, parts: Sequence[Part], layer: int, last: bool, causal: bool
) -> Tensor:
    """A ``Mix`` for steps that hold no outputs: stores keys and values, then attends to all that is stored.

    With ``causal``, to what is stored up to the query itself; states are neighbours then, and the last one is the one
    whose output is wanted.
    """
    mixed = []
    states = [len(part.states) for part in parts]
    queries = q.split_with_sizes([len(part.outputs) for part in parts] if last else states)
    packed = zip(parts, queries, k.split_with_sizes(states), v.split_with_sizes(states), strict=True)
    for part, query, keys, values in packed:
        store = part.store.layers[layer]
        store.keys[:, part.places] = keys.transpose(0, 1)
        store.values[:, part.places] = values.transpose(0, 1)
        mixed.append(_attend_stored(query, store, part.end if causal else None))
    return torch.cat(mixed) if len(mixed) > 1 else mixed[0]


def run_holding(
    layers: Sequence[Layer], norm: nn.Module, x: Tensor, parts: Sequence[Part], config: ModelConfig
) -> Tensor:
    """Hidden states (N, D) at ``Part.outputs`` of packed embeddings ``x`` (S, D), storing what was computed.

    For steps that hold outputs; without them a layer is what it is in exact mode, with ``mix_stored``.
    """
    head_size = config.hidden_size // config.num_attention_heads
    rotary = rotary_table(torch.cat([part.states for part in parts]), head_size, config.rope_theta, x.dtype)
    for index, layer in enumerate(layers):
        x = _run_layer(layer, index, x, rotary, parts, last=index == len(layers) - 1)
    hidden: Tensor = norm(x[torch.cat([part.outputs for part in parts])])
    return hidden


def _run_layer(
    layer: Layer, index: int, x: Tensor, rotary: tuple[Tensor, Tensor], parts: Sequence[Part], last: bool
) -> Tensor:
    """One layer over all states (S, D); rows it neither computes nor holds keep their input."""
    stores = [part.store.layers[index] for part in parts]
    normed = layer.input_layernorm(x)
    chosen = _store_keys_and_values(layer, normed, rotary, parts, stores)
    queried = [part.needed if last else part.fresh for part in parts]
    computed = [torch.cat(rows) for rows in zip(queried, chosen, strict=True)]
    rows = torch.cat(computed)
    mixed = _attend(layer, normed, rotary, computed, stores)
    x = _add(x, layer.self_attn.o_proj(mixed), rows, parts, [store.attention for store in stores])
    fed = layer.mlp(layer.post_attention_layernorm(x[rows]))
    return _add(x, fed, rows, parts, [store.feed_forward for store in stores])


def _store_keys_and_values(
    layer: Layer,
    normed: Tensor,
    rotary: tuple[Tensor, Tensor],
    parts: Sequence[Part],
    stores: Sequence[LayerStore],
) -> list[Tensor]:
    """Bring the stores up to date; gives the waiting rows (t,) of each part that are computed in this layer."""
    attention = layer.self_attn
    heads = (attention.kv_heads, attention.head_size)
    chosen = []
    for part, store in zip(parts, stores, strict=True):
        more = _most_changed(layer, normed, part, store)
        chosen.append(more)
        for rows in (part.fresh, more):  # two products, as in the authors' hook: ``least`` goes by their last bits
            if not len(rows):
                continue
            keys, values = (
                project(normed[rows]).unflatten(-1, heads) for project in (attention.k_proj, attention.v_proj)
            )
            positions = part.positions(rows)
            store.keys[:, positions] = rotate(keys, rotary[0][rows], rotary[1][rows]).transpose(0, 1)
            store.values[:, positions] = values.transpose(0, 1)
    return chosen


def _most_changed(layer: Layer, normed: Tensor, part: Part, store: LayerStore) -> Tensor:
    """The waiting rows (t,) whose values are least similar to the stored ones."""
    if not part.transfers:
        return part.waiting[:0]
    values = layer.self_attn.v_proj(normed[part.waiting])
    similarity = F.cosine_similarity(
        values, store.values[:, part.positions(part.waiting)].transpose(0, 1).flatten(1), dim=-1
    )
    return part.waiting[least(similarity, part.transfers)]


def least(similarity: Tensor, count: int) -> Tensor:
    """Indices (count,) of the smallest of ``similarity`` (w,).

    Many are 1 up to their last bits, as most of an answer doesn't change from step to step. Among them the library's
    top-k chooses, as in the authors' code: that depends on kernels (hence ``reproducible_attention``), but not on the
    batch, as each sequence comes alone.
    """
    return torch.topk(similarity, count, largest=False).indices


def _attend(
    layer: Layer,
    normed: Tensor,
    rotary: tuple[Tensor, Tensor],
    computed: Sequence[Tensor],
    stores: Sequence[LayerStore],
) -> Tensor:
    """Mixed values (C, D) of the computed rows, each attending to its whole sequence as stored."""
    attention = layer.self_attn
    rows = torch.cat(list(computed))
    q = attention.q_proj(normed[rows]).unflatten(-1, (attention.heads, attention.head_size))
    q = rotate(q, rotary[0][rows], rotary[1][rows])
    queries = q.split_with_sizes([len(one) for one in computed])
    return torch.cat([_attend_stored(query, store) for query, store in zip(queries, stores, strict=True)]).flatten(1)


def _attend_stored(query: Tensor, store: LayerStore, causal_end: int | None = None) -> Tensor:
    """Mixed values (n, heads, K) of rotated queries (n, heads, K).

    ``causal_end`` is where the sequence ends for a causal model, whose queries are all its positions or the last one.
    """
    if not len(query):  # kernels differ in what they make of no queries
        return query
    q, k, v = query.transpose(0, 1)[None], store.keys[None, :, :causal_end], store.values[None, :, :causal_end]
    if len(store.attention):
        # Where outputs are held, last bits may decide which of them are renewed (``least``).
        mixed = kernels.reproducible_attention(q, k, v)
    else:
        mixed = kernels.attention(q, k, v, causal=causal_end is not None and len(query) > 1)
    return mixed[0].transpose(0, 1)


def _add(x: Tensor, new: Tensor, rows: Tensor, parts: Sequence[Part], stored: Sequence[Tensor]) -> Tensor:
    """``x`` (S, D) plus ``new`` (C, D) at ``rows`` and what is stored at the other held rows; stores the new ones."""
    outputs = torch.zeros_like(x)
    for part, kept in zip(parts, stored, strict=True):
        outputs[part.waiting] = kept[: len(part.waiting)]
    outputs[rows] = new
    for part, kept in zip(parts, stored, strict=True):
        kept[:] = outputs[part.held]
    return x + outputs
