"""Random numbers of the sampler, one source per sample."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class NoiseSource(Protocol):
    """Where one sample's randomness comes from.

    A denoising step asks at most once for each kind: token uniforms first (temperature above 0), then position
    uniforms (``random`` remasking).
    """

    def token_uniforms(self, positions: Tensor, vocabulary: int) -> Tensor:
        """Uniforms (n, vocabulary) in float64 for the Gumbel noise at ``positions`` (n,)."""
        ...

    def position_uniforms(self, positions: Tensor) -> Tensor:
        """Uniforms (n,) in float32, the confidences of ``random`` remasking at ``positions`` (n,)."""
        ...


class SeededNoise:
    """A generator of the sample's own, so that its draws don't depend on what else is in the batch.

    It stays on the CPU: the same seed gives the same numbers on every device.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def token_uniforms(self, positions: Tensor, vocabulary: int) -> Tensor:
        return torch.rand(len(positions), vocabulary, dtype=torch.float64, generator=self._generator)

    def position_uniforms(self, positions: Tensor) -> Tensor:
        return torch.rand(len(positions), dtype=torch.float32, generator=self._generator)
