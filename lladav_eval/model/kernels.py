"""Float32 products and attention on the CPU, by the faster of the libraries that torch carries.

torch gives float32 products to MKL, which on processors of other makers than its own uses half of the vector width:
on an AMD EPYC with AVX-512 oneDNN's kernels were 2.2 to 2.4 times as fast (docs/performance.md). Small products stay
with MKL, as oneDNN builds a kernel for every new shape (0.2 to 2 ms). Either way the sums are float32; they differ in
their order, so in the last bits. GPUs and half precision go torch's usual way.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WORTH_IT = 15_000_000
"""Multiplications from which on a product goes to oneDNN."""
LONG = 512
"""Queries and keys from which on attention is put together from products here..."""
_SOME = 64
"""... and queries, where keys and values lie head by head, as those of a cache do."""
_QUERIES_AT_ONCE = 512
"""Most queries of a head whose scores exist at the same time: 8 MB of them at 4,000 keys."""
_WEIGHT_ROWS_AT_ONCE = 2048
"""oneDNN copies weights into its own order for every product; this bounds the copy of the head's."""

_OPERATOR = "_linear_pointwise"


@cache
def _onednn() -> bool:
    """Whether this torch has oneDNN's product and this processor the vector width that it makes use of."""
    capability = torch.backends.cpu.get_cpu_capability()
    return torch.backends.mkldnn.is_available() and "AVX512" in capability and hasattr(torch.ops.mkldnn, _OPERATOR)


def uses_fast_kernels(tensor: Tensor) -> bool:
    """Whether the tensor is one for the kernels here: float32, on the CPU, no gradients wanted."""
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu" or torch.is_grad_enabled():
        return False
    return not torch.compiler.is_compiling() and bool(torch.backends.mkldnn.enabled) and _onednn()


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x`` (..., I) times ``weight`` (O, I) transposed, plus ``bias`` (O,): (..., O)."""
    if not uses_fast_kernels(x) or x.numel() * len(weight) < _WORTH_IT:
        return F.linear(x, weight, bias)
    if len(weight) <= 2 * _WEIGHT_ROWS_AT_ONCE:
        return _product(x, weight, bias)
    out = x.new_empty(*x.shape[:-1], len(weight))
    for start in range(0, len(weight), _WEIGHT_ROWS_AT_ONCE):
        rows = slice(start, start + _WEIGHT_ROWS_AT_ONCE)
        out[..., rows] = _product(x, weight[rows], None if bias is None else bias[rows])
    return out


class Linear(nn.Linear):
    """``nn.Linear`` that multiplies by ``linear``."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None, causal: bool = False, overwrite_q: bool = False
) -> Tensor:
    """Scaled dot-product attention of ``q`` (B, H, N, K) to ``k`` and ``v`` (B, G, T, K): (B, H, N, K).

    ``G`` divides ``H``: each key head serves ``H / G`` neighbouring query heads. ``visible`` (B, 1, N, T) bool limits
    what is attended to, ``causal`` limits it to earlier positions. ``overwrite_q`` allows the result to take ``q``'s
    place in memory.
    """
    enough = _SOME if k.is_contiguous() else LONG  # and so for the values
    if visible is None and not causal and q.shape[2] >= enough and k.shape[2] >= LONG and uses_fast_kernels(q):
        return _attention_by_products(q, k, v, q if overwrite_q else torch.empty_like(q))
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=causal, enable_gqa=grouped)


def reproducible_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``attention`` without limits, with the same bits on processors with AVX2 and with AVX-512.

    That is so for float32 on the CPU with fewer than 512 keys; else it is ``attention``. Two products and a softmax one
    after the other, as in the authors' hook for dLLM-Cache (train/llava/hooks/cache_hook_LLaDA_V.py).
    """
    short = q.device.type == "cpu" and q.dtype == torch.float32 and k.shape[2] < LONG
    if not short or q.shape[1] != k.shape[1]:
        return attention(q, k, v)
    scores = (q @ k.transpose(-1, -2)).div_(math.sqrt(q.shape[-1]))
    return _softmax_by_eights(scores) @ v


def _softmax_by_eights(scores: Tensor) -> Tensor:
    """torch's softmax (..., T) as it adds up with AVX2, in eight running sums; with AVX-512 it makes sixteen.

    With eight weights of zero after every eight, both give the same bits.
    """
    count = scores.shape[-1]
    eights = F.pad(scores, (0, -count % 8), value=-torch.inf).unflatten(-1, (-1, 8))
    wide = F.pad(eights, (0, 8), value=-torch.inf).flatten(-2)
    weights = torch._softmax(wide, -1, False, out=wide)
    return weights.unflatten(-1, (-1, 16))[..., :8].flatten(-2)[..., :count]


def attention_with_sums(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The same without limits, with the logarithm of the sum of each query's weights: (B, H, N, K), (B, H, N, 1)."""
    if uses_fast_kernels(q) and min(q.shape[2], k.shape[2]) >= LONG:
        log_sums = q.new_empty(*q.shape[:-1], 1)
        return _attention_by_products(q, k, v, torch.empty_like(q), log_sums), log_sums
    shared = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    log_sums = scores.logsumexp(-1, keepdim=True)
    return scores.sub_(log_sums).exp_() @ v, log_sums


def _attention_by_products(q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sums: Tensor | None = None) -> Tensor:
    """Head by head, some queries at a time, into ``out``, which may be ``q``; fills ``log_sums`` (B, H, N, 1) too."""
    batch, heads, queries, size = q.shape
    shared = heads // k.shape[1]
    portion = math.ceil(queries / math.ceil(queries / _QUERIES_AT_ONCE))
    for sequence, head in product(range(batch), range(heads)):
        keys = k[sequence, head // shared].contiguous()
        values = v[sequence, head // shared].t().contiguous()
        for start in range(0, queries, portion):
            rows = slice(start, start + portion)
            scores = _product(q[sequence, head, rows] * size**-0.5, keys, None)
            if log_sums is not None:
                log_sums[sequence, head, rows] = scores.amax(-1, keepdim=True)
            weights = torch._softmax(scores, -1, False, out=scores)  # in place: memory that is written to first is slow
            out[sequence, head, rows] = _product(weights, values, None)
            if log_sums is not None:
                # The largest weight is exp(largest score - logarithm of the sum): its own logarithm is exact enough.
                log_sums[sequence, head, rows] -= weights.amax(-1, keepdim=True).log()
            del scores, weights  # so that the next portion's take their place
    return out
