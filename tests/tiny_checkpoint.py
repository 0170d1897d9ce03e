"""A whole LLaDA-V checkpoint of random weights, small enough to write and load in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lladav_eval.model.config import parse_config
from lladav_eval.model.lladav import LladavModel
from lladav_eval.pocket.vocabulary import write_tokenizer


def write_checkpoint(directory: Path, seed: int = 0, **changes: Any) -> Path:
    """Write config, tokenizer and weights; ``changes`` replace config fields."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(directory)
    fields: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "mm_projector_type": "mlp2x_gelu",
        "mm_patch_merge_type": "spatial_unpad",
        "image_aspect_ratio": "anyres_max_4",
        "image_grid_pinpoints": "(1x1),...,(3x3)",
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
        },
        **changes,
    }
    (directory / "config.json").write_text(json.dumps(fields))
    torch.manual_seed(seed)
    model = LladavModel(parse_config(fields))
    state = {
        name: torch.randn_like(tensor) * (0.3 if tensor.ndim > 1 else 1) for name, tensor in model.state_dict().items()
    }
    save_file(state, directory / "model.safetensors")
    return directory
