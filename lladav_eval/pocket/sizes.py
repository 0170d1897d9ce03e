"""Sizes of the pocket model, as the config.json that its checkpoints ship with."""

from __future__ import annotations

from typing import Any


def config_fields(vocabulary: int, bos: int, eos: int, causal: bool) -> dict[str, Any]:
    """The authors' config fields; ``vision_config`` gives the tower's sizes inline.

    Args:
        vocabulary: entries of the tokenizer.
        bos: id of <|startoftext|>.
        eos: id of <|endoftext|>.
        causal: True for the autoregressive twin.
    """
    fields: dict[str, Any] = {
        "architectures": ["LlavaLLaDAModelLM"],
        "attention_bias": False,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "hidden_act": "silu",
        "hidden_size": 96,
        "image_aspect_ratio": "anyres_max_4",
        "image_grid_pinpoints": "(1x1),...,(3x3)",
        "intermediate_size": 256,
        "max_position_embeddings": 1024,
        "mm_hidden_size": 96,
        "mm_newline_position": "grid",
        "mm_patch_merge_type": "spatial_unpad",
        "mm_projector_type": "mlp2x_gelu",
        "mm_spatial_pool_mode": "bilinear",
        "model_type": "llava_llada",
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "tokenizer_model_max_length": 1024,
        "torch_dtype": "float32",
        "vision_config": {
            "hidden_size": 96,
            "image_size": 24,
            "intermediate_size": 192,
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "patch_size": 8,
        },
        "vocab_size": vocabulary,
    }
    if causal:
        fields["lladav_eval_causal"] = True
    return fields
