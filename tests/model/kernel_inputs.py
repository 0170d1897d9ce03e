"""Inputs of our kernels, and what torch makes of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lladav_eval.model import kernels

NEEDED = pytest.mark.skipif(
    not kernels._onednn(), reason="this processor has no AVX-512 (or this torch no oneDNN): the kernels are never used"
)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normally distributed numbers, always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heads(count: int, length: int, seed: int, strided: bool = False, batch: int = 3, size: int = 8) -> Tensor:
    """(batch, count, length, size), lying head by head or, strided, as projections leave them."""
    if strided:
        return draw(batch, length, count, size, seed=seed).transpose(1, 2)
    return draw(batch, count, length, size, seed=seed)


def by_torch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without limits."""
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
