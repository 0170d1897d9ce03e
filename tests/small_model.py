"""A LLaDA-V of a few thousand random weights, made without a checkpoint; its tower is a token one."""

from __future__ import annotations

import torch

from lladav_eval.model.config import ModelConfig, VisionConfig
from lladav_eval.model.lladav import LladavModel


def small_config(size: int, vocabulary: int, positions: int, attention_bias: bool = False) -> ModelConfig:
    """Three layers of width ``size`` with two query heads to a key head."""
    return ModelConfig(
        hidden_size=size,
        intermediate_size=2 * size,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=vocabulary,
        max_position_embeddings=positions,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        attention_bias=attention_bias,
        causal=False,
        vision=VisionConfig(8, 8, 2, 1, 28, 14),
        projector_depth=2,
        image_aspect_ratio="anyres_max_4",
        image_grid_pinpoints=((28, 28),),
        max_tiles=4,
        max_length=positions,
    )


def random_model(config: ModelConfig, seed: int, spread: float) -> LladavModel:
    """Matrices drawn with standard deviation ``spread``, large enough that tokens differ from position to position."""
    torch.manual_seed(seed)
    model = LladavModel(config).requires_grad_(False).eval()
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.copy_(torch.randn_like(weight) * spread)
    return model
