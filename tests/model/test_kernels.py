"""Our float32 kernels for the CPU against torch's own.

Inputs are small and the bars are lowered where a shape at the real ones would take long; which side of a bar was taken
is always observed, never assumed.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from model.kernel_inputs import CLOSE, NEEDED, by_torch, draw, heads
from torch import Tensor
from torch.nn import functional as F

from lladav_eval.model import kernels
from lladav_eval.model.kernels import Linear, attention, attention_with_sums, linear, reproducible_attention

pytestmark = NEEDED


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the weights of every product that goes to oneDNN, in order."""
    seen: list[tuple[int, ...]] = []
    real = kernels._product

    def noted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(tuple(weight.shape))
        return real(x, weight, bias)

    monkeypatch.setattr(kernels, "_product", noted)
    return seen


class TestLinear:
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("leading", [(300,), (3, 100), (2, 3, 50)])
    def test_equals_torchs(self, products: list[tuple[int, ...]], leading: tuple[int, ...], bias: bool) -> None:
        x, weight = draw(*leading, 256), draw(256, 256, seed=1)
        offset = draw(256, seed=2) if bias else None
        with torch.no_grad():
            ours = linear(x, weight, offset)
            torch.testing.assert_close(ours, F.linear(x, weight, offset), **CLOSE)
        assert products == [(256, 256)]

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("rows", [20, 21, 29])
    def test_long_weights_go_portion_by_portion(
        self, products: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch, rows: int, bias: bool
    ) -> None:
        monkeypatch.setattr(kernels, "_WORTH_IT", 1)
        monkeypatch.setattr(kernels, "_WEIGHT_ROWS_AT_ONCE", 10)
        x, weight = draw(2, 7, 16), draw(rows, 16, seed=1)
        offset = draw(rows, seed=2) if bias else None
        with torch.no_grad():
            torch.testing.assert_close(linear(x, weight, offset), F.linear(x, weight, offset), **CLOSE)
        assert [shape[0] for shape in products] == ([20] if rows == 20 else [10, 10, rows - 20])

    def test_weights_as_long_as_a_vocabulary(self, products: list[tuple[int, ...]]) -> None:
        count = 2 * kernels._WEIGHT_ROWS_AT_ONCE + 3
        x, weight, bias = draw(128, 32), draw(count, 32, seed=1), draw(count, seed=2)
        with torch.no_grad():
            torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias), **CLOSE)
        assert [shape[0] for shape in products] == [kernels._WEIGHT_ROWS_AT_ONCE] * 2 + [3]

    def test_small_products_stay_with_mkl(self, products: list[tuple[int, ...]]) -> None:
        rows = kernels._WORTH_IT // (100 * 100)
        weight = draw(100, 100, seed=1)
        with torch.no_grad():
            assert torch.equal(linear(draw(rows - 1, 100), weight), F.linear(draw(rows - 1, 100), weight))
            assert products == []
            torch.testing.assert_close(linear(draw(rows, 100), weight), F.linear(draw(rows, 100), weight), **CLOSE)
        assert products == [(100, 100)]

    def test_strided_inputs(self, products: list[tuple[int, ...]]) -> None:
        x, weight = draw(256, 300).t(), draw(256, 512, seed=1)[:, ::2]
        with torch.no_grad():
            torch.testing.assert_close(linear(x, weight), F.linear(x, weight), **CLOSE)
        assert products

    def test_the_module(self, products: list[tuple[int, ...]]) -> None:
        module = Linear(256, 300)
        with torch.no_grad():
            x = draw(2, 200, 256)
            torch.testing.assert_close(module(x), F.linear(x, module.weight, module.bias), **CLOSE)
            assert len(products) == 1
            assert Linear(8, 8, bias=False)(draw(2, 8)).shape == (2, 8)
        assert list(module.state_dict()) == ["weight", "bias"]


class TestAttention:
    @pytest.mark.parametrize("strided", [False, True])
    @pytest.mark.parametrize("queries", [63, 64, 65, 511, 512, 513, 600])
    @pytest.mark.parametrize("keys", [511, 512, 530])
    def test_equals_torchs_around_the_bars(
        self, products: list[tuple[int, ...]], queries: int, keys: int, strided: bool
    ) -> None:
        q, k, v = heads(4, queries, 1, strided), heads(2, keys, 2, strided), heads(2, keys, 3, strided)
        with torch.no_grad():
            ours = attention(q, k, v)
        torch.testing.assert_close(ours, by_torch(q, k, v), **CLOSE)
        assert ours.shape == q.shape
        enough = kernels.LONG if strided else kernels._SOME
        assert bool(products) == (queries >= enough and keys >= kernels.LONG)

    @pytest.mark.parametrize(("query_heads", "key_heads"), [(1, 1), (6, 6), (6, 3), (6, 1)])
    def test_query_heads_share_key_heads(
        self, products: list[tuple[int, ...]], query_heads: int, key_heads: int
    ) -> None:
        q, k, v = heads(query_heads, 520, 1), heads(key_heads, 515, 2), heads(key_heads, 515, 3)
        with torch.no_grad():
            torch.testing.assert_close(attention(q, k, v), by_torch(q, k, v), **CLOSE)
        assert products

    @pytest.mark.parametrize("queries", [5, 7, 8, 10, 11, 15, 16, 29])
    def test_portions_that_do_not_divide(
        self, products: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch, queries: int
    ) -> None:
        monkeypatch.setattr(kernels, "_QUERIES_AT_ONCE", 7)
        for bar in ("LONG", "_SOME"):
            monkeypatch.setattr(kernels, bar, 1)
        q, k, v = heads(2, queries, 1, batch=1), heads(2, 20, 2, batch=1), heads(2, 20, 3, batch=1)
        with torch.no_grad():
            torch.testing.assert_close(attention(q, k, v), by_torch(q, k, v), **CLOSE)
        assert len(products) == 2 * 2 * -(-queries // 7)  # two products for each portion of each head

    @pytest.mark.parametrize("strided", [False, True])
    def test_takes_the_queries_memory_only_where_told_to(self, strided: bool) -> None:
        q, k, v = heads(4, 600, 1, strided), heads(2, 530, 2), heads(2, 530, 3)
        before, expected = q.clone(), by_torch(q, k, v)
        with torch.no_grad():
            ours = attention(q, k, v)
            assert torch.equal(q, before)
            assert not torch.equal(ours, q)
            over = attention(q, k, v, overwrite_q=True)
        assert over.data_ptr() == q.data_ptr()
        assert torch.equal(over, ours)
        torch.testing.assert_close(over, expected, **CLOSE)

    def test_large_scores(self, products: list[tuple[int, ...]]) -> None:
        q, k, v = 30 * heads(2, 512, 1), 30 * heads(2, 512, 2), heads(2, 512, 3)
        with torch.no_grad():
            torch.testing.assert_close(attention(q, k, v), by_torch(q, k, v), rtol=1e-3, atol=1e-3)
        assert products


class TestReproducibleAttention:
    @pytest.mark.parametrize("keys", [1, 7, 8, 9, 16, 200, 511, 512])
    def test_equals_torchs(self, keys: int) -> None:
        q, k, v = heads(4, 5, 0), heads(4, keys, 1), heads(4, keys, 2)
        with torch.no_grad():
            torch.testing.assert_close(reproducible_attention(q, k, v), by_torch(q, k, v), **CLOSE)

    def test_grouped_heads_long_sequences_and_half_precision_go_the_usual_way(self) -> None:
        q, k, v = heads(4, 5, 0), heads(2, 9, 1), heads(2, 9, 2)
        assert torch.equal(reproducible_attention(q, k, v), attention(q, k, v))
        q, k, v = heads(4, 70, 0), heads(4, 512, 1), heads(4, 512, 2)
        with torch.no_grad():
            assert torch.equal(reproducible_attention(q, k, v), attention(q, k, v))
        q, k, v = (heads(4, 9, seed).bfloat16() for seed in range(3))
        assert torch.equal(reproducible_attention(q, k, v), attention(q, k, v))

    def test_the_vector_width_changes_no_bit(self) -> None:
        """As torch's own softmax does; weights before the product are compared, which isn't torch's but MKL's."""
        script = (
            "import sys, torch; from lladav_eval.model.kernels import _softmax_by_eights as ours\n"
            "x = torch.randn(50, 200, generator=torch.Generator().manual_seed(0))\n"
            "sys.stdout.buffer.write(b''.join(bytes(f(x).numpy().data) for f in (ours, lambda x: x.softmax(-1))))"
        )
        narrow, wide = (
            subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "ATEN_CPU_CAPABILITY": width},
                check=True,
                capture_output=True,
            ).stdout
            for width in ("avx2", "avx512")
        )
        size = 50 * 200 * 4
        assert len(narrow) == 2 * size
        assert narrow[:size] == wide[:size]
        assert narrow[size:] != wide[size:]


class TestAttentionWithSums:
    @pytest.mark.parametrize("strided", [False, True])
    @pytest.mark.parametrize(("queries", "keys"), [(5, 9), (600, 33), (33, 600), (511, 512), (512, 512), (700, 513)])
    def test_result_and_sums(self, products: list[tuple[int, ...]], queries: int, keys: int, strided: bool) -> None:
        q, k, v = heads(4, queries, 1, strided), heads(2, keys, 2, strided), heads(2, keys, 3, strided)
        with torch.no_grad():
            mixed, sums = attention_with_sums(q, k, v)
        torch.testing.assert_close(mixed, by_torch(q, k, v), **CLOSE)
        scores = q.double() @ k.double().repeat_interleave(2, 1).transpose(-1, -2) * 8**-0.5
        torch.testing.assert_close(sums.double(), scores.logsumexp(-1, keepdim=True), rtol=1e-5, atol=1e-4)
        assert bool(products) == (min(queries, keys) >= kernels.LONG)

    @pytest.mark.parametrize("scale", [1, 20])
    @pytest.mark.parametrize("first", [1, 40, 600])
    def test_two_parts_make_the_whole(self, first: int, scale: int) -> None:
        """The merging of first_layer.py: shares of the two parts from the logarithms of their sums."""
        q, k, v = scale * heads(4, 600, 1), heads(2, 1200, 2), heads(2, 1200, 3)
        with torch.no_grad():
            (one, one_sums), (two, two_sums) = (
                attention_with_sums(q, k[:, :, part], v[:, :, part]) for part in (slice(first), slice(first, None))
            )
        merged = two.lerp(one, torch.sigmoid(one_sums - two_sums))
        torch.testing.assert_close(merged, by_torch(q, k, v), rtol=1e-3, atol=1e-4)

    def test_the_inputs_stay_as_they_are(self) -> None:
        for length in (20, 520):
            q, k, v = heads(2, length, 1), heads(2, length, 2), heads(2, length, 3)
            before = [tensor.clone() for tensor in (q, k, v)]
            with torch.no_grad():
                attention_with_sums(q, k, v)
                attention(q, k, v)
            assert all(torch.equal(now, then) for now, then in zip((q, k, v), before, strict=True))
