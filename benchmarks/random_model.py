"""The models of random weights that are timed: a medium LLaDA, and a tiny one to check a script itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lladav_eval.model.config import ModelConfig, VisionConfig
from lladav_eval.model.lladav import LladavModel


@dataclass(frozen=True)
class Size:
    """Of a transformer; its heads share no keys."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    mask_id: int
    forbidden_ids: tuple[int, ...]


MEDIUM = Size(512, 8, 8, 1536, 126464, 126336, (126081, 126080, 126346, 126347))
SMALL = Size(64, 2, 2, 128, 2000, 1999, (1, 2))


def config_of(size: Size) -> ModelConfig:
    """The tower is a token one, for no image is shown."""
    vision = VisionConfig(8, 8, 2, 1, 28, 14)
    return ModelConfig(
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        vocab_size=size.vocabulary,
        max_position_embeddings=8192,
        rms_norm_eps=1e-6,
        rope_theta=500000.0,
        attention_bias=False,
        causal=False,
        vision=vision,
        projector_depth=2,
        image_aspect_ratio="anyres_max_4",
        image_grid_pinpoints=((28, 28),),
        max_tiles=4,
        max_length=8192,
    )


def build_model(size: Size) -> LladavModel:
    """Random weights."""
    torch.manual_seed(0)
    return LladavModel(config_of(size)).requires_grad_(False).eval()


def random_prompt(size: Size, length: int) -> Tensor:
    """Ids of the vocabulary, but for the first three and the mask's."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, min(size.vocabulary, size.mask_id) - 1, (length,), generator=generator)
