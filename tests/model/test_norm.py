"""The norm of the transformer: the authors' order of roundings, bit for bit."""

from __future__ import annotations

import pytest
import torch

from lladav_eval.model.language import RMSNorm


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_half_precision_rounds_before_the_weights(dtype: torch.dtype, scale: float) -> None:
    """As in modeling_llada.py: to float32, normed, back to the type, and only then times the weights."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(50, 96, generator=generator) * scale).to(dtype)
    norm = RMSNorm(96, 1e-5).to(dtype)
    norm.weight.data = torch.randn(96, generator=generator).to(dtype)
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
    with torch.no_grad():
        assert torch.equal(norm(x), norm.weight * wide.to(dtype))
