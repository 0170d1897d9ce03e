"""An estimate of the floating-point operations of any transformers model, from its parameters.

    every position of the transformer     2 * parameters of its layers
    every position whose logits are made  2 * parameters of the head
    attention                             4 * layers * heads * head size * positions seen, of each position computed
    vision, with its connector            2 * parameters of the vision part * patches of the sample

The prompt is computed once, with logits at its last position, then one position a token (that is what the key-value
cache is for). Of experts, the share that one position uses is counted. Attention inside the vision part isn't counted,
and sliding windows are counted as if they were whole, so this is an estimate; for LLaDA-V see model/flops.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_VISION = ("vision", "visual", "projector", "connector")
"""Parts of the names of the vision part's weights, its way into the language model included."""


@dataclass(frozen=True)
class Sizes:
    """What the estimate needs to know about a model."""

    layers: float
    """Parameters of the transformer's layers that one position uses."""
    head: float
    """Parameters of the head."""
    vision: float
    """Parameters of the vision part."""
    attention: float
    """Layers times heads times head size."""
    values_per_patch: int
    """Pixel values of one patch."""

    @classmethod
    def of(cls, model: Any) -> Sizes:
        """Read them off a loaded model."""
        config = model.config.get_text_config()
        vision_config = getattr(model.config, "vision_config", None)
        embedding = model.get_input_embeddings().weight
        head = model.get_output_embeddings().weight
        experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
        used = getattr(config, "num_experts_per_tok", None) or getattr(config, "top_k_experts", None)
        layers = vision = 0.0
        for name, weight in model.named_parameters():
            if weight is embedding or weight is head or weight.ndim < 2:  # norms and biases multiply no matrices
                continue
            if any(part in name for part in _VISION):
                vision += weight.numel()
            else:
                layers += weight.numel() * (used / experts if experts and used and ".experts." in name else 1)
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            layers=layers,
            head=float(head.numel()),
            vision=vision,
            attention=float(config.num_hidden_layers * config.num_attention_heads * head_size),
            values_per_patch=_values_per_patch(vision_config),
        )

    def patches(self, pixel_values: int) -> float:
        """Patches that a number of pixel values makes."""
        return pixel_values / self.values_per_patch

    def flops(self, prompt: int, passes: int, patches: float) -> float:
        """One sample: ``prompt`` positions, ``passes`` forward passes (the first reads the prompt), ``patches``."""
        later = max(0, passes - 1)
        seen = prompt * prompt + later * prompt + later * (later + 1) / 2
        positions = 2 * (prompt + later) * self.layers + 2 * passes * self.head
        return positions + 4 * self.attention * seen + 2 * self.vision * patches

    def canvas_flops(self, prompt: int, canvas: int, steps: Sequence[int], patches: float) -> float:
        """One sample of a model that denoises canvases of ``canvas`` positions, one after the other (DiffusionGemma).

        Before each canvas it reads what is new, the prompt or the canvas before, without logits. Each of ``steps``, the
        denoising passes of each canvas, computes the canvas with its logits; all but the first of a canvas also mix the
        embeddings by the last logits, which takes as much as the head.
        """
        total = 2 * self.vision * patches
        for number, passes in enumerate(steps):
            before = prompt + number * canvas
            read = canvas if number else prompt
            total += 2 * read * self.layers + 4 * self.attention * read * before
            total += passes * (2 * canvas * self.layers + 4 * self.attention * canvas * (before + canvas))
            total += (2 * passes - 1) * 2 * canvas * self.head
        return total


def _values_per_patch(vision: Any) -> int:
    if vision is None:
        return 1
    channels = next(
        (getattr(vision, name) for name in ("num_channels", "in_channels", "in_chans") if hasattr(vision, name)), 3
    )
    side = getattr(vision, "patch_size", 14)
    side = side[0] if isinstance(side, list | tuple) else side
    return int(channels * side * side * getattr(vision, "temporal_patch_size", 1))
