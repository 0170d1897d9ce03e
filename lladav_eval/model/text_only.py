"""Text-only LLaDA checkpoints (``GSAI-ML/LLaDA-8B-Instruct``): their config fields and parameter names, in ours.

The transformer is the one inside LLaDA-V; only the names differ. There is no tower and no connector.

Source: config.json, model.safetensors.index.json and modeling_llada.py (``LLaDALlamaBlock``) of the checkpoint.
"""

from __future__ import annotations

import re
from typing import Any

from lladav_eval.errors import CheckpointError

# Their name -> ours. ``ff_proj`` goes through the activation and multiplies ``up_proj``: it is the gate.
_BLOCK = {
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
}
_WHOLE = {
    "model.transformer.wte.weight": "model.embed_tokens.weight",
    "model.transformer.ln_f.weight": "model.norm.weight",
    "model.transformer.ff_out.weight": "lm_head.weight",
}
_BLOCK_WEIGHT = re.compile(r"model\.transformer\.blocks\.(\d+)\.(\w+)\.(weight|bias)")

_SIZES = {
    "d_model": "hidden_size",
    "mlp_hidden_size": "intermediate_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "max_sequence_length": "max_position_embeddings",
    "rms_norm_eps": "rms_norm_eps",
    "rope_theta": "rope_theta",
}
_FIXED: dict[str, Any] = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "rope": True,
    "scale_logits": False,
    "weight_tying": False,
}
"""What the published checkpoint says, and the only thing the transformer here does."""


def is_text_only(fields: dict[str, Any]) -> bool:
    """Whether config.json is that of a text-only LLaDA: its own field names, and nothing of a tower."""
    return "d_model" in fields and "mm_projector_type" not in fields


def our_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The config fields of the transformer under LLaDA-V's names.

    Raises:
        CheckpointError: naming a field that is missing or asks for another architecture.
    """
    for name, value in _FIXED.items():
        if fields.get(name, value) != value:
            raise CheckpointError(f"{name}={fields[name]!r} is not supported; LLaDA-8B has {value!r}")
    missing = sorted(name for name in _SIZES if fields.get(name) is None)
    if missing:
        raise CheckpointError(f"field {missing[0]!r} is missing; is this a LLaDA checkpoint?")
    translated = {ours: fields[theirs] for theirs, ours in _SIZES.items()}
    # ``embedding_size`` is the number of rows in the file; ``vocab_size`` may be smaller.
    translated["vocab_size"] = fields.get("embedding_size") or fields.get("vocab_size")
    translated["num_key_value_heads"] = fields.get("n_kv_heads") or fields["n_heads"]
    return translated


def our_name(name: str) -> str:
    """The name of a weight in our model; a name that isn't theirs stays as it is, to be reported as unexpected."""
    if match := _BLOCK_WEIGHT.fullmatch(name):
        number, part, kind = match.groups()
        return f"model.layers.{number}.{_BLOCK[part]}.{kind}" if part in _BLOCK else name
    return _WHOLE.get(name, name)
