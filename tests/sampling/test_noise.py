from __future__ import annotations

import torch

from lladav_eval.sampling.noise import SeededNoise


def test_shapes_types_and_repeatability() -> None:
    positions = torch.tensor([4, 7, 9])
    first, second, other = SeededNoise(5), SeededNoise(5), SeededNoise(6)
    tokens = first.token_uniforms(positions, 11)
    assert (tokens.shape, tokens.dtype) == ((3, 11), torch.float64)
    assert torch.equal(tokens, second.token_uniforms(positions, 11))
    assert not torch.equal(tokens, other.token_uniforms(positions, 11))
    ranks = first.position_uniforms(positions)
    assert (ranks.shape, ranks.dtype) == ((3,), torch.float32)
    assert torch.equal(ranks, second.position_uniforms(positions))
    assert not torch.equal(ranks, first.position_uniforms(positions)), "every step draws anew"


def test_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    SeededNoise(0).token_uniforms(torch.arange(2), 3)
    assert torch.equal(before, torch.random.get_rng_state())
