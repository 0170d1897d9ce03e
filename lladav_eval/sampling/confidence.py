"""One denoising step in three parts: choose a token per position, score it, select the positions to fill.

``n`` is the number of positions asked about, ``V`` the vocabulary, ``L`` the length of the whole sequence.

Source: the body of ``generate_with_embeds`` in the authors' modeling_llada.py; Gumbel noise and probabilities in
float64 as there (arXiv:2409.02908 says why).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

WIDE_ELEMENTS = {"cpu": 1 << 19}
"""Logits widened to float64 at a time: 4 MB, which a CPU's caches hold (4 rows of the real vocabulary, thousands of a
toy's); 128 MB on other devices, for few large kernels."""


@dataclass(frozen=True)
class Choice:
    """The model's wish for every position one sample asked about; on the CPU."""

    token_ids: Tensor
    """(n,) int64."""
    probabilities: Tensor
    """(n,) float64: softmax probability of each token, before noise."""
    finite: bool
    """False if NaN or infinity decided anywhere: the tokens then mean nothing."""
    gaps: Tensor | None = None
    """(n,) float64 between the two highest logits, if asked for."""


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance on logits of equal shape; ``scale`` 0 would give ``conditional`` back."""
    return unconditional + (scale + 1) * (conditional - unconditional)


def choose_tokens(
    logits: Sequence[Tensor],
    forbidden: Sequence[Sequence[int]],
    unconditional: Sequence[Tensor] | None = None,
    cfg_scale: float = 0.0,
    temperature: float = 0.0,
    uniforms: Tensor | None = None,
    with_gaps: bool = False,
) -> list[Choice]:
    """Most likely (or Gumbel-sampled) token at every position, and its probability.

    Rows of all samples are worked on together, a bounded number at a time; nothing of the size of all logits is
    allocated and the logits are left as they are.

    Args:
        logits: (n_i, V) per sample.
        forbidden: ids that must not be chosen, per sample.
        unconditional: logits without the prompt, shaped like ``logits``; None without guidance.
        cfg_scale: guidance scale, used with ``unconditional``.
        temperature: exponent of the Gumbel noise; 0 is greedy.
        uniforms: (sum of n_i, V) float64, needed when ``temperature`` is above 0.
        with_gaps: whether to compute ``Choice.gaps``.
    """
    counts, device = [len(scores) for scores in logits], logits[0].device
    rows = max(1, WIDE_ELEMENTS.get(device.type, 1 << 24) // max(1, logits[0].shape[1]))
    token_ids, probabilities, finite, gaps, done = [], [], [], [], 0
    for pieces in _pieces(counts, rows):
        parts = [logits[sample][span].float() for sample, span in pieces]
        if unconditional is not None:
            parts = [
                guided(part, unconditional[sample][span].float(), cfg_scale)
                for part, (sample, span) in zip(parts, pieces, strict=True)
            ]
        wide = torch.cat(parts).double()
        for part, (sample, _) in zip(wide.split_with_sizes([len(part) for part in parts]), pieces, strict=True):
            if forbidden[sample]:
                part.index_fill_(1, _columns(tuple(forbidden[sample]), device), -torch.inf)
        noise = None if uniforms is None else uniforms[done : done + len(wide)]
        done += len(wide)
        chosen = _choose(wide, temperature, noise)
        probability = torch.softmax(wide, dim=-1).gather(1, chosen)
        # NaN counts as the maximum, so it can't hide behind another choice.
        finite.append(wide.gather(1, chosen).isfinite() & probability.isfinite())
        token_ids.append(chosen)
        probabilities.append(probability)
        if with_gaps:
            first, second = wide.topk(2, dim=-1).values.split(1, dim=-1)
            gaps.append(first - second)

    def by_sample(pieces: list[Tensor]) -> Sequence[Tensor]:
        """Joined before they go to the CPU, for which a GPU is waited for."""
        return torch.cat(pieces).squeeze(1).cpu().split_with_sizes(counts)

    found = zip(by_sample(token_ids), by_sample(probabilities), by_sample(finite), strict=True)
    choices = [Choice(ids, scores, bool(good.all())) for ids, scores, good in found]
    if not with_gaps:
        return choices
    return [replace(choice, gaps=gap) for choice, gap in zip(choices, by_sample(gaps), strict=True)]


@lru_cache(maxsize=64)
def _columns(ids: tuple[int, ...], device: torch.device) -> Tensor:
    """The ids on the device, sent once: sending them anew would wait for the forward pass that is under way."""
    return torch.tensor(ids, device=device)


def _choose(wide: Tensor, temperature: float, uniforms: Tensor | None) -> Tensor:
    """Chosen ids (n, 1) from float64 logits (n, V)."""
    if temperature == 0:
        return wide.argmax(dim=-1, keepdim=True)
    if uniforms is None:
        raise ValueError("temperature above 0 needs uniforms")
    gumbel = uniforms.to(wide.device).log().neg_().pow_(temperature)
    return wide.exp().div_(gumbel).argmax(dim=-1, keepdim=True)


def _pieces(counts: Sequence[int], rows: int) -> Iterator[list[tuple[int, slice]]]:
    """Cut and join the rows of the samples into groups of ``rows``: (sample, its rows) each, in order."""
    group: list[tuple[int, slice]] = []
    free = rows
    for sample, count in enumerate(counts):
        start = 0
        while start < count:
            size = min(free, count - start)
            group.append((sample, slice(start, start + size)))
            start, free = start + size, free - size
            if not free:
                yield group
                group, free = [], rows
    if group:
        yield group


def select(positions: Tensor, confidences: Tensor, length: int, count: int) -> Tensor:
    """Indices into ``positions`` of the ``count`` most confident ones, ascending.

    The vector handed to top-k has the full length ``L`` with -inf everywhere else, as the authors' has. If fewer than
    ``count`` positions are finite, some at -inf are taken too, and which ones is decided by the library's order
    inside top-k; so are ties. Picks outside ``positions`` are already filled and drop out.

    Args:
        positions: (n,) int64, ascending.
        confidences: (n,) float64 (``low_confidence``) or float32 (``random``); -inf where nothing should be filled.
        length: L.
        count: positions to pick, at most L.
    """
    everywhere = torch.full((length,), -torch.inf, dtype=confidences.dtype)
    everywhere[positions] = confidences
    picked = torch.zeros(length, dtype=torch.bool)
    picked[torch.topk(everywhere, count).indices] = True
    return picked[positions].nonzero().squeeze(1)
