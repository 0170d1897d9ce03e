"""Where our kernels are not used: everything goes torch's way there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from model.kernel_inputs import CLOSE, NEEDED, by_torch, draw, heads
from torch import Tensor
from torch.nn import functional as F

from lladav_eval.model import kernels
from lladav_eval.model.kernels import Linear, attention, attention_with_sums, linear, uses_fast_kernels

pytestmark = [NEEDED, pytest.mark.usefixtures("refused")]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any product by oneDNN fails; bars are so low that size is never what keeps one away."""

    def refuse(*arguments: object) -> Tensor:
        raise AssertionError("a product went to oneDNN")

    monkeypatch.setattr(kernels, "_product", refuse)
    for bar in ("_WORTH_IT", "LONG", "_SOME"):
        monkeypatch.setattr(kernels, bar, 1)


@contextmanager
def without_onednn() -> Iterator[None]:
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True


def everything(dtype: torch.dtype = torch.float32) -> None:
    """Every way in, with inputs that are long enough for all of them."""
    x, weight, q = draw(40, 16).to(dtype), draw(24, 16, seed=1).to(dtype), heads(2, 40, 1).to(dtype)
    tolerance = CLOSE if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(linear(x, weight), F.linear(x, weight), **tolerance)
    assert Linear(16, 24, dtype=dtype)(x).dtype == dtype
    torch.testing.assert_close(attention(q, q, q), by_torch(q, q, q), **tolerance)
    torch.testing.assert_close(attention_with_sums(q, q, q)[0], by_torch(q, q, q), **tolerance)


def test_the_refusal_works() -> None:
    """Or the tests below would show nothing."""
    q = heads(2, 40, 1)
    calls: list[Callable[[], object]] = [
        lambda: linear(draw(40, 16), draw(24, 16)),
        lambda: attention(q, q, q),
        lambda: attention_with_sums(q, q, q),
    ]
    for call in calls:
        with torch.no_grad(), pytest.raises(AssertionError, match="went to oneDNN"):
            call()


def test_with_gradients() -> None:
    everything()
    module, x = Linear(16, 24), draw(40, 16)
    module(x).sum().backward()
    assert module.weight.grad is not None
    torch.testing.assert_close(module.weight.grad, x.sum(0).expand(24, 16), **CLOSE)
    q = heads(2, 40, 1).requires_grad_()
    attention(q, q, q).sum().backward()
    assert q.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_in_other_types(dtype: torch.dtype) -> None:
    with torch.no_grad():
        everything(dtype)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_with_onednn_switched_off(mode: Callable[[], torch.no_grad]) -> None:
    with mode(), without_onednn():
        assert not uses_fast_kernels(draw(2))
        everything()
    with mode():
        assert uses_fast_kernels(draw(2))


def test_on_a_processor_without_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels._onednn.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    try:
        with torch.no_grad():
            assert not uses_fast_kernels(draw(2))
            everything()
    finally:
        kernels._onednn.cache_clear()


def test_on_another_device() -> None:
    with torch.no_grad():
        assert not uses_fast_kernels(torch.empty(2, device="meta"))


def test_under_compile() -> None:
    def whole(x: Tensor, weight: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor, bool]:
        return linear(x, weight), attention(q, q, q), attention_with_sums(q, q, q)[0], uses_fast_kernels(x)

    x, weight, q = draw(40, 16), draw(24, 16, seed=1), heads(2, 40, 1)
    with torch.no_grad():
        product, mixed, summed, fast = torch.compile(whole, backend="eager", fullgraph=True)(x, weight, q)
    assert not fast
    torch.testing.assert_close(product, F.linear(x, weight), **CLOSE)
    torch.testing.assert_close(mixed, by_torch(q, q, q), **CLOSE)
    torch.testing.assert_close(summed, by_torch(q, q, q), **CLOSE)


def test_with_limits() -> None:
    q, k, v = heads(4, 520, 1), heads(2, 520, 2), heads(2, 520, 3)
    visible = (torch.rand(3, 1, 520, 520, generator=torch.Generator().manual_seed(0)) > 0.5) | torch.eye(520).bool()
    with torch.no_grad():
        limited, causal = attention(q, k, v, visible), attention(q, k, v, causal=True)
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        scores = q @ k.transpose(-1, -2) * 8**-0.5
        wanted = scores.masked_fill(~visible, -torch.inf).softmax(-1) @ v
        torch.testing.assert_close(limited, wanted, **CLOSE)
        earlier = torch.ones(520, 520).tril().bool()
        wanted = scores.masked_fill(~earlier, -torch.inf).softmax(-1) @ v
        torch.testing.assert_close(causal, wanted, **CLOSE)
