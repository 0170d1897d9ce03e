"""A small tokenizer with the checkpoint's special tokens and template, and a small model config."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from lladav_eval.model.config import ModelConfig, parse_config

SPECIAL = (
    "<|startoftext|>",
    "<|endoftext|>",
    "<|mdm_mask|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
# The template of the checkpoint's tokenizer_config.json.
TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + "
    "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)


def write_tokenizer(directory: Path, special: tuple[str, ...] = SPECIAL, template: str | None = TEMPLATE) -> Path:
    """One token per byte, in the order of the byte-level alphabet, then ``special``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {"bos_token": "<|startoftext|>", "eos_token": {"content": "<|endoftext|>"}}
    if template is not None:
        config["chat_template"] = template
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


def make_config(tile: int, ratio: str = "anyres_max_4") -> ModelConfig:
    """The smallest config the parser accepts, with the official pinpoints."""
    return parse_config(
        {
            "hidden_size": 8,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "vocab_size": 262,
            "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5,
            "rope_theta": 1e4,
            "mm_projector_type": "mlp2x_gelu",
            "mm_patch_merge_type": "spatial_unpad",
            "image_aspect_ratio": ratio,
            "image_grid_pinpoints": "(1x1),...,(6x6)",
            "vision_config": {
                "hidden_size": 8,
                "intermediate_size": 8,
                "num_hidden_layers": 2,
                "num_attention_heads": 1,
                "image_size": tile,
                "patch_size": 4,
            },
        }
    )
