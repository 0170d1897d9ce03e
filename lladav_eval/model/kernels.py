"""Float32 products and attention on the CPU, by the faster of the libraries that torch carries.

torch gives float32 products to MKL, which on processors of other makers than its own uses half of the vector width:
on an AMD EPYC with AVX-512 oneDNN's kernels were 2.2 to 2.4 times as fast (docs/performance.md). Small products stay
with MKL, as oneDNN builds a kernel for every new shape (0.2 to 2 ms). Either way the sums are float32; they differ in
their order, so in the last bits. GPUs and half precision go torch's usual way.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WORTH_IT = 15_000_000
"""Multiplications from which on a product goes to oneDNN."""
_LONG = 512
"""Queries and keys from which on attention is put together from products here."""
_QUERIES_AT_ONCE = 192
"""Most queries of a head whose scores exist at the same time: 3 MB of them at 4,000 keys."""
_WEIGHT_ROWS_AT_ONCE = 4096
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


def attention(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None, causal: bool = False) -> Tensor:
    """Scaled dot-product attention of ``q`` (B, H, N, K) to ``k`` and ``v`` (B, G, T, K): (B, H, N, K).

    ``G`` divides ``H``: each key head serves ``H / G`` neighbouring query heads. ``visible`` (B, 1, N, T) bool limits
    what is attended to, ``causal`` limits it to earlier positions.
    """
    if visible is None and not causal and uses_fast_kernels(q) and min(q.shape[2], k.shape[2]) >= _LONG:
        return _attention_by_products(q, k, v, None)
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=causal, enable_gqa=grouped)


def attention_with_sums(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The same without limits, with the logarithm of the sum of each query's weights: (B, H, N, K), (B, H, N, 1)."""
    if uses_fast_kernels(q) and min(q.shape[2], k.shape[2]) >= _LONG:
        log_sums = q.new_empty(*q.shape[:-1], 1)
        return _attention_by_products(q, k, v, log_sums), log_sums
    shared = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    log_sums = scores.logsumexp(-1, keepdim=True)
    return scores.sub_(log_sums).exp_() @ v, log_sums


def _attention_by_products(q: Tensor, k: Tensor, v: Tensor, log_sums: Tensor | None) -> Tensor:
    """Heads go to as many threads as torch has, each computing alone: products of this size don't share well."""
    batch, heads, queries, _ = q.shape
    shared = heads // k.shape[1]
    out = torch.empty(batch, queries, heads, v.shape[-1])
    tasks = [
        (
            q[sequence, head],
            k[sequence, head // shared],
            v[sequence, head // shared],
            out[sequence, :, head],
            None if log_sums is None else log_sums[sequence, head],
        )
        for sequence in range(batch)
        for head in range(heads)
    ]
    threads = torch.get_num_threads()
    if threads == 1:
        for task in tasks:
            _attend_head(*task)
    else:
        for done in [_pool(threads).submit(_attend_head, *task) for task in tasks]:
            done.result()
    return out.transpose(1, 2)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in which torch computes with one thread each."""
    return ThreadPoolExecutor(threads, "attention", initializer=torch.set_num_threads, initargs=(1,))


@torch.inference_mode()
def _attend_head(q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sums: Tensor | None) -> None:
    """Fill ``out`` (N, K) and ``log_sums`` (N, 1) for one head: ``q`` (N, K) attends to ``k`` and ``v`` (T, K)."""
    portion = math.ceil(len(q) / math.ceil(len(q) / _QUERIES_AT_ONCE))
    q, k, v = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous(), v.t().contiguous()
    for start in range(0, len(q), portion):
        rows = slice(start, start + portion)
        scores = _product(q[rows], k, None)
        weights = torch.softmax(scores, dim=-1)
        out[rows] = _product(weights, v, None)
        if log_sums is not None:
            # The largest weight is exp(largest score - logarithm of the sum): never too small for its own logarithm.
            log_sums[rows] = scores.amax(-1, keepdim=True) - weights.amax(-1, keepdim=True).log()
