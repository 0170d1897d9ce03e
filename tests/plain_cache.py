"""A plain, slow reference of the approximate caches: the second truth of model/cache.py and sampling/cache.py.

One sequence; every position goes through every layer at every step, and a table per layer says which keys, values and
outputs are out of date and must be used as they were. Float64, attention written out. Written from the papers and the
authors' hooks, not from our code; keep it dull.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lladav_eval.model.lladav import LladavModel

Embed = Callable[[Tensor], Tensor]
"""Embeddings (L, D) of ids (L,)."""


class PlainCache:
    """One sequence's stale states under one cache.

    Args:
        model: of any number type; its weights are widened to float64.
        embed: embeddings of the ids, media included.
        prompt: length of the prompt.
        block_length: of the answer's blocks.
        kind: ``prefix``, ``dual`` or ``dllm``.
        numbers: the refresh interval, or the two intervals and the transfer ratio.
    """

    def __init__(
        self, model: LladavModel, embed: Embed, prompt: int, block_length: int, kind: str, numbers: tuple[Any, ...]
    ) -> None:
        self.model, self.embed, self.prompt, self.block_length = model, embed, prompt, block_length
        self.kind, self.numbers = kind, numbers
        layers = model.config.num_hidden_layers
        self.keys: list[Tensor | None] = [None] * layers
        self.values: list[Tensor | None] = [None] * layers
        self.attended: list[Tensor | None] = [None] * layers
        self.fed: list[Tensor | None] = [None] * layers

    def logits(self, ids: Tensor, asked: Tensor, block: int, step_in_block: int, step: int) -> Tensor:
        """Logits (L, V) of one step; those of positions the cache left out are of no use."""
        length = len(ids)
        answer = torch.arange(length) >= self.prompt
        if self.kind == "dllm":
            prompt_interval, response_interval, ratio = self.numbers
            fresh = torch.zeros(length, dtype=torch.bool)
            fresh[~answer] = step % prompt_interval == 0
            fresh[answer] = step % response_interval == 0
            transfers = 0 if step % response_interval == 0 else int(int(answer.sum()) * ratio)
            fresh[asked[asked < self.prompt]] = True
            return self._forward(ids, fresh, answer, transfers)
        start = self.prompt + block * self.block_length
        end = start + self.block_length if self.kind == "dual" else length
        fresh = torch.zeros(length, dtype=torch.bool)
        fresh[start:end] = True
        fresh[asked] = True
        if step_in_block % self.numbers[0] == 0:
            fresh[:] = True
        return self._forward(ids, fresh, torch.zeros(length, dtype=torch.bool), 0)

    def _forward(self, ids: Tensor, fresh: Tensor, held: Tensor, transfers: int) -> Tensor:
        config, backbone = self.model.config, self.model.model
        x = self.embed(ids).double()
        for index, layer in enumerate(backbone.layers):
            attention = layer.self_attn
            normed = rms(x, layer.input_layernorm.weight, config.rms_norm_eps)
            keys = rope(project(normed, attention.k_proj, attention.kv_heads), config.rope_theta)
            values = project(normed, attention.v_proj, attention.kv_heads)
            queries = rope(project(normed, attention.q_proj, attention.heads), config.rope_theta)
            computed = fresh.clone()
            if transfers and self.values[index] is not None:
                computed |= self._most_changed(values, self.values[index], held & ~fresh, transfers)
            keys = mixed(computed, keys, self.keys[index])
            values = mixed(computed, values, self.values[index])
            repeats = attention.heads // attention.kv_heads
            scores = torch.einsum("qhk,phk->hqp", queries, keys.repeat_interleave(repeats, 1))
            weights = (scores / queries.shape[-1] ** 0.5).softmax(-1)
            out = torch.einsum("hqp,phk->qhk", weights, values.repeat_interleave(repeats, 1)).flatten(1)
            out = mixed(computed, linear(out, attention.o_proj), self.attended[index])
            x = x + out
            mlp, inner = layer.mlp, rms(x, layer.post_attention_layernorm.weight, config.rms_norm_eps)
            fed = linear(F.silu(linear(inner, mlp.gate_proj)) * linear(inner, mlp.up_proj), mlp.down_proj)
            fed = mixed(computed, fed, self.fed[index])
            x = x + fed
            self.keys[index], self.values[index], self.attended[index], self.fed[index] = keys, values, out, fed
        return linear(rms(x, backbone.norm.weight, config.rms_norm_eps), self.model.lm_head)

    def _most_changed(self, new: Tensor, old: Tensor, waiting: Tensor, count: int) -> Tensor:
        """The waiting positions of smallest cosine; of equals the first."""
        rows = waiting.nonzero().flatten()
        similarity = F.cosine_similarity(new.flatten(1)[rows], old.flatten(1)[rows], dim=-1).tolist()
        order = sorted(range(len(rows)), key=lambda row: (round(similarity[row], 5), row))
        chosen = torch.zeros_like(waiting)
        chosen[rows[order[:count]]] = True
        return chosen


def mixed(computed: Tensor, new: Tensor, old: Tensor | None) -> Tensor:
    """``new`` where computed, ``old`` elsewhere."""
    if old is None:
        assert bool(computed.all())
        return new
    return torch.where(computed.view(-1, *[1] * (new.ndim - 1)), new, old)


def linear(x: Tensor, module: Any) -> Tensor:
    return x @ module.weight.double().T + (0 if module.bias is None else module.bias.double())


def project(x: Tensor, module: Any, heads: int) -> Tensor:
    return linear(x, module).unflatten(-1, (heads, -1))


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight.double() * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def rope(x: Tensor, theta: float) -> Tensor:
    """Rotate (L, H, K) by position: pairs (i, i + K/2)."""
    half = x.shape[-1] // 2
    frequencies = 1.0 / theta ** (torch.arange(half, dtype=torch.float64) / half)
    angles = (torch.arange(len(x), dtype=torch.float64)[:, None] * frequencies)[:, None]
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        (first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()), dim=-1
    )
