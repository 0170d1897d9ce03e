"""Prompts bound to the model: media encoded once, then asked about step by step (``BoundPrompts``, a ``Denoise``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor

from lladav_eval.errors import SampleError
from lladav_eval.model.cache import Part, SequenceStore, mix_stored, run_holding, states_of, work_at_states
from lladav_eval.model.first_layer import FirstLayer
from lladav_eval.model.flops import Work, kept_flops, query_flops, reusing_flops, tile_flops
from lladav_eval.model.graphs import MOST_ROWS, Compute, StepGraphs
from lladav_eval.model.language import Layer, Mix, PackedLayout
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Prompt, Query, Reuse


@dataclass
class BoundPrompts:
    """Prompts whose media have been encoded, ready to be queried: a ``Denoise`` for the sampler.

    Each has a number, its place in the lists; a prompt that is done can be released, and its number is used again.
    """

    model: LladavModel
    token_ids: list[Tensor]
    """(length,) int64 per prompt, each medium expanded to as many placeholders as it has tokens."""
    visuals: list[Tensor]
    """(tokens, D) per prompt: the embeddings of the placeholders, in order."""
    flops: list[float] = field(init=False)
    """Floating-point operations spent on each prompt so far, its media included."""
    stores: dict[tuple[int, bool], SequenceStore] = field(default_factory=dict)
    """What is kept of each sequence, by prompt and by whether it is the one without prompt (guidance)."""
    followed: dict[int, Tensor] = field(default_factory=dict)
    """The ids (length,) whose states a causal model has stored, by prompt."""
    first_layer: FirstLayer = field(default_factory=FirstLayer)
    """What exact mode keeps of long prompts."""
    graphs: StepGraphs = field(default_factory=StepGraphs)
    """Of the small steps of an approximate cache, if the model is to use them (``LladavModel.cuda_graphs``)."""
    free: list[int] = field(default_factory=list)
    """Numbers of released prompts."""

    def __post_init__(self) -> None:
        self.flops = [0.0] * len(self.token_ids)

    @classmethod
    def bind(cls, model: LladavModel, prompts: Sequence[Prompt]) -> BoundPrompts:
        """Encode the media of ``prompts`` and expand their placeholders.

        Raises:
            SampleError: if a prompt has more or fewer placeholders than media.
        """
        bound = cls(model, [], [])
        bound.add(prompts)
        return bound

    def add(self, prompts: Sequence[Prompt]) -> list[int]:
        """Encode the media of more prompts, all tiles together; gives their numbers. Raises SampleError as ``bind``."""
        model = self.model
        empty = torch.zeros(0, model.config.hidden_size, device=model.device, dtype=model.dtype)
        per_tile = tile_flops(model.config)
        added = [
            (
                expand_placeholders(prompt.token_ids, [len(medium) for medium in tokens]),
                torch.cat(tokens) if tokens else empty,
                per_tile * sum(len(medium) for medium in prompt.pixels),
            )
            for prompt, tokens in zip(prompts, model.encode_visuals(prompts), strict=True)
        ]
        return [self._put(*bound) for bound in added]

    def _put(self, token_ids: Tensor, visuals: Tensor, flops: float) -> int:
        if not self.free:
            self.token_ids.append(token_ids)
            self.visuals.append(visuals)
            self.flops.append(flops)
            return len(self.token_ids) - 1
        number = self.free.pop()
        self.token_ids[number], self.visuals[number], self.flops[number] = token_ids, visuals, flops
        return number

    def release(self, number: int) -> None:
        """Forget a prompt and everything kept of it."""
        self.visuals[number] = self.visuals[number][:0].clone()
        self.token_ids[number] = self.token_ids[number][:0].clone()
        self.first_layer.kept.pop(number, None)
        self.followed.pop(number, None)
        self.graphs.clear()
        for unconditional in (False, True):
            self.stores.pop((number, unconditional), None)
        self.free.append(number)

    def __call__(self, queries: Sequence[Query]) -> list[Tensor]:
        """Logits (n, V) at the asked positions of each query, all queries in one packed forward pass."""
        if self.model.config.causal:
            queries = [self._continued(query) for query in queries]
        if queries and queries[0].reuse is not None:
            return self._reusing(queries)
        order = sorted(range(len(queries)), key=lambda i: (len(queries[i].token_ids), len(queries[i].positions)))
        logits = dict(zip(order, self._exact([queries[i] for i in order]), strict=True))
        return [logits[i] for i in range(len(order))]

    def _exact(self, queries: Sequence[Query]) -> list[Tensor]:
        """The same in exact mode; neighbours with equally many positions attend together."""
        lengths, positions = [len(query.token_ids) for query in queries], [query.positions for query in queries]
        mix_first = self._first_layer(queries, lengths)
        self._count(queries, lengths, mix_first is not None)
        layout = PackedLayout.build(lengths, positions, self.model.device)
        logits = self.model.logits(self.model(self.embed(queries), layout, mix_first))
        return list(logits.split_with_sizes([len(wanted) for wanted in positions]))

    def _first_layer(self, queries: Sequence[Query], lengths: Sequence[int]) -> Mix | None:
        """The first layer's attention if all queries hold their prompts unchanged (guidance masks them); else None."""
        names = [query.sample for query in queries]
        prompts = [self.token_ids[name] for name in names]
        if len(self.model.model.layers) < 2 or not self.first_layer.suits(
            self.model.lm_head.weight, [len(ids) for ids in prompts], self.model.config
        ):
            return None
        if not all(torch.equal(query.token_ids[: len(ids)], ids) for query, ids in zip(queries, prompts, strict=True)):
            return None
        sequences = list(zip(names, [len(ids) for ids in prompts], lengths, strict=True))
        return partial(self.first_layer.mix, sequences=sequences)

    def _count(self, queries: Sequence[Query], lengths: Sequence[int], first_layer: bool) -> None:
        config, vocabulary = self.model.config, self.model.lm_head.out_features
        for query, length in zip(queries, lengths, strict=True):
            self.flops[query.sample] += query_flops(config, length, len(query.positions), vocabulary)
            if first_layer and query.sample in self.first_layer.kept:
                self.flops[query.sample] -= kept_flops(config, len(self.token_ids[query.sample]))

    def _continued(self, query: Query) -> Query:
        """The query of a causal model with what is left to compute: what was stored before can't change.

        That is one token more than last time, or else everything.
        """
        length, sequence = len(query.token_ids), (query.sample, False)
        known = self.followed.get(query.sample)
        if query.positions.tolist() != [length - 1]:
            raise ValueError("a causal model is asked about the last position, and no other")
        if known is None or not torch.equal(known, query.token_ids[:-1]):
            self.stores.pop(sequence, None)
            start = 0
        else:
            start = length - 1
            self.stores[sequence].reserve(length)
        self.followed[query.sample] = query.token_ids
        return replace(query, reuse=Reuse(torch.arange(start, length), torch.arange(0)))

    def _reusing(self, queries: Sequence[Query]) -> list[Tensor]:
        """The same where all queries say what is computed: in an approximate mode, or by a causal model."""
        graphs = self.model.cuda_graphs
        states = [states_of(query.reuse) for query in queries if query.reuse is not None] if graphs else []
        if graphs and sum(map(len, states)) <= MOST_ROWS:
            hidden = self._replayed(queries, states)
        else:
            parts = self._parts(queries)
            for query, part in zip(queries, parts, strict=True):
                self._count_work(query.sample, part.work(len(query.token_ids)))
            hidden = _run_parts(self.model, self.embed(queries), parts)
        return list(self.model.logits(hidden).split_with_sizes([len(query.positions) for query in queries]))

    def _replayed(self, queries: Sequence[Query], states: Sequence[Tensor]) -> Tensor:
        """Hidden states (N, D) at the asked positions, by a graph that has them at all ``states`` of the queries.

        What is asked about changes from step to step; a step comes again where the rest doesn't.
        """
        kind, rows = [], []
        starts = accumulate(map(len, states), initial=0)
        for query, there, start in zip(queries, states, starts, strict=False):
            reuse = cast("Reuse", query.reuse)
            self._count_work(query.sample, work_at_states(query, len(there)))
            # What is held stays the same for a sequence.
            kind.append((query.sample, reuse.unconditional, reuse.transfers, tuple(reuse.fresh.tolist())))
            rows.append(torch.searchsorted(there, query.positions) + start)

        def build() -> Compute:
            whole = [replace(query, positions=there) for query, there in zip(queries, states, strict=True)]
            return partial(_run_parts, self.model, parts=self._parts(whole))  # without self, which keeps it

        hidden = self.graphs.run(tuple(kind), self.embed(queries), build)
        return hidden[torch.cat(rows).to(self.model.device)]

    def _parts(self, queries: Sequence[Query]) -> list[Part]:
        """The queries laid out one behind another."""
        parts: list[Part] = []
        for query in queries:
            start = parts[-1].start + len(parts[-1].states) if parts else 0
            parts.append(Part.build(query, self._store(query), start, self.model.device))
        return parts

    def _count_work(self, sample: int, work: Work) -> None:
        self.flops[sample] += reusing_flops(self.model.config, work, self.model.lm_head.out_features)

    def _store(self, query: Query) -> SequenceStore:
        """The store of the query's sequence; a sequence seen for the first time must be computed whole."""
        reuse, length = query.reuse, len(query.token_ids)
        if reuse is None:
            raise ValueError("queries with and without reuse can't share a forward pass")
        name = (query.sample, reuse.unconditional)
        if name not in self.stores:
            if len(reuse.fresh) != length:
                raise ValueError("the first query of a sequence must compute all of it")
            like = self.model.lm_head.weight
            self.stores[name] = SequenceStore.empty(self.model.config, length, len(reuse.held), like)
        return self.stores[name]

    def embed(self, queries: Sequence[Query]) -> Tensor:
        """Embeddings of the queries' positions that have a state, all of them in exact mode, one query behind another.

        A sequence without placeholders (guidance masks them) uses no visuals. What lies where is found on the CPU,
        where the ids are: asking a GPU would make the program wait for it.
        """
        device, ids, visuals = self.model.device, [], []
        for query in queries:
            states = slice(None) if query.reuse is None else states_of(query.reuse)
            placeholders = query.token_ids == IMAGE_PLACEHOLDER_ID
            ids.append(query.token_ids[states])
            if query.reuse is None and placeholders.any():
                visuals.append(self.visuals[query.sample])
            elif placeholders[states].any():
                order = placeholders.cumsum(0) - 1
                visuals.append(self.visuals[query.sample][order[states][placeholders[states]].to(device)])
        packed = torch.cat(ids)
        is_visual = packed == IMAGE_PLACEHOLDER_ID
        embeddings: Tensor = self.model.model.embed_tokens(packed.masked_fill(is_visual, 0).to(device))
        if visuals:
            embeddings[is_visual.nonzero().squeeze(1).to(device)] = torch.cat(visuals)
        return embeddings


def _run_parts(model: LladavModel, x: Tensor, parts: Sequence[Part]) -> Tensor:
    """Hidden states (N, D) at the parts' outputs of packed embeddings ``x`` (S, D)."""
    config, count = model.config, len(model.model.layers)
    if any(len(part.held) for part in parts):
        return run_holding(cast("list[Layer]", list(model.model.layers)), model.model.norm, x, parts, config)
    mixes = [
        partial(mix_stored, parts=parts, layer=layer, last=layer == count - 1, causal=config.causal)
        for layer in range(count)
    ]
    positions, outputs = torch.cat([part.states for part in parts]), torch.cat([part.outputs for part in parts])
    return model.run_layers(x, positions, mixes, outputs)


def check_placeholders(token_ids: Sequence[int], media: int) -> None:
    """Raises SampleError unless there is one placeholder for each of ``media``."""
    placeholders = sum(1 for token in token_ids if token == IMAGE_PLACEHOLDER_ID)
    if placeholders != media:
        raise SampleError(
            f"the prompt has {placeholders} <image> placeholders for {media} images; "
            "write one per image, or none to have them put first"
        )


def expand_placeholders(token_ids: Sequence[int], lengths: Sequence[int]) -> Tensor:
    """Repeat the i-th placeholder ``lengths[i]`` times: (length,) int64."""
    check_placeholders(token_ids, len(lengths))
    expanded: list[int] = []
    counts = iter(lengths)
    for token in token_ids:
        expanded.extend([token] * next(counts) if token == IMAGE_PLACEHOLDER_ID else [token])
    return torch.tensor(expanded, dtype=torch.int64)
