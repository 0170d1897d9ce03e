"""Sizes of GSAI-ML/LLaDA-V, for when its config.json isn't at hand.

Sources: train/llada_v_prepare/files/config.json (transformer) and the training scripts (tower, grid, length) of the
authors; the checkpoint's own config.json wasn't seen.
"""

from __future__ import annotations

from typing import Any

OFFICIAL_FIELDS: dict[str, Any] = {
    "attention_bias": False,
    "hidden_size": 4096,
    "image_aspect_ratio": "anyres_max_4",
    "image_grid_pinpoints": "(1x1),...,(6x6)",
    "intermediate_size": 12288,
    "max_position_embeddings": 16384,
    "mm_newline_position": "grid",
    "mm_patch_merge_type": "spatial_unpad",
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_tower": "google/siglip2-so400m-patch14-384",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tokenizer_model_max_length": 16384,
    "vocab_size": 126464,
}
"""Field names of config.json."""

OFFICIAL_VOCABULARY = 126349
"""Tokens of the tokenizer, to which the loader cuts embeddings and head."""
