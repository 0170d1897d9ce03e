"""Sizes and switches of a LLaDA-V checkpoint, read from its own config.json (the authors' field names)."""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lladav_eval.errors import CheckpointError, one_line
from lladav_eval.model import text_only
from lladav_eval.model.fields import MOST, number_of, require, size_of

# The official checkpoint keeps the tower's weights but not its sizes: config.json only names the tower.
# Sizes: config.json of google/siglip2-so400m-patch14-384, equal to the defaults in the authors' siglip_encoder.py.
_KNOWN_TOWERS: dict[str, dict[str, int]] = {
    "so400m-patch14-384": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    }
}

MOST_GRIDS = 10_000
"""Largest number of tile grids that is believed."""


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of the SigLIP tower as published, before its last layer is dropped."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float = 1e-6

    @property
    def grid(self) -> int:
        """Patches along one side of a tile (27 for 384 px tiles of 14 px patches)."""
        return self.image_size // self.patch_size


NO_VISION = VisionConfig(
    hidden_size=0, intermediate_size=0, num_hidden_layers=0, num_attention_heads=0, image_size=0, patch_size=1
)


NEWLINE_DEFAULT = "one_token"
"""What the authors' llava_arch.py takes where config.json has no ``mm_newline_position``."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything the model and the image processing need to know about a checkpoint."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    attention_bias: bool
    causal: bool
    """True only for autoregressive twins; LLaDA attends in both directions."""
    vision: VisionConfig
    """``NO_VISION`` in a text-only checkpoint."""
    projector_depth: int
    """Linear layers in the connector: 2 for ``mlp2x_gelu``."""
    image_aspect_ratio: str
    image_grid_pinpoints: tuple[tuple[int, int], ...]
    """Allowed (width, height) of a tiled image, in pixels."""
    max_tiles: int
    """N of ``anyres_max_N``: larger grids are reduced to about this many tiles. ``MOST`` for ``anyres``, which reduces
    none; 0 for ``pad``, where an image is one tile, alone as well as among others."""
    max_length: int
    """Longest sequence the checkpoint was trained for (``tokenizer_model_max_length``)."""
    newline_position: str = "grid"
    """Where a video gets newline embeddings: behind every row (``grid``), every ``frame``, once or never
    (``one_token``, ``no_token``)."""
    bare_projector: bool = False
    """True for ``linear``: the connector's one layer has no number in its parameter names."""
    tied_embeddings: bool = False
    """True if the head's weights are those of the embeddings."""
    text_only: bool = False
    """True for LLaDA without tower and connector (model/text_only.py)."""


def read_config(directory: Path) -> ModelConfig:
    """Read ``directory/config.json``.

    Raises:
        CheckpointError: if the file is missing, is not JSON, lacks a field or asks for something unsupported.
    """
    path = directory / "config.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; give a directory that holds a LLaDA-V checkpoint") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)}); download it again") from None
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, found {type(fields).__name__}")
    try:
        return parse_config(fields, directory)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def parse_config(fields: dict[str, Any], directory: Path | None = None) -> ModelConfig:
    """Turn the authors' config fields into a ``ModelConfig``.

    Args:
        fields: the content of config.json.
        directory: where a relative ``mm_vision_tower`` is looked up.

    Raises:
        CheckpointError: naming the field that is missing, malformed or not supported.
    """
    if text_only.is_text_only(fields):
        return _text_only_config(text_only.our_fields(fields))
    require(fields, "mm_projector_type", r"linear|mlp[1-9]\d?x_gelu")
    require(fields, "mm_patch_merge_type", "spatial_unpad")
    require(fields, "mm_newline_position", "grid|frame|one_token|no_token", default=NEWLINE_DEFAULT)
    require(fields, "mm_spatial_pool_mode", "bilinear", default="bilinear")
    require(fields, "image_aspect_ratio", r"pad|anyres(_max_[1-9]\d{0,5})?")
    require(fields, "hidden_act", "silu|swish", default="silu")
    for switch in ("add_faster_video", "mm_use_im_start_end", "mm_use_im_patch_token"):
        if fields.get(switch):
            raise CheckpointError(f"{switch}={fields[switch]!r} is not supported; LLaDA-V has it off")
    if fields.get("rope_scaling") is not None:
        raise CheckpointError(f"rope_scaling={fields['rope_scaling']!r} is not supported; LLaDA-V has none")
    vision = _vision_config(fields, directory)
    projector = str(fields["mm_projector_type"])
    ratio = str(fields["image_aspect_ratio"])
    return ModelConfig(
        **_transformer_sizes(fields),
        attention_bias=bool(fields.get("attention_bias", False)),
        tied_embeddings=bool(fields.get("tie_word_embeddings", False)),
        causal=fields.get("lladav_eval_causal", False) is True,
        vision=vision,
        newline_position=str(fields.get("mm_newline_position", NEWLINE_DEFAULT)),
        projector_depth=1 if projector == "linear" else int(projector[3:].split("x")[0]),
        bare_projector=projector == "linear",
        image_aspect_ratio=ratio,
        image_grid_pinpoints=() if ratio == "pad" else _pinpoints(fields, vision.image_size),
        max_tiles=int({"pad": 0, "anyres": MOST}.get(ratio, ratio.removeprefix("anyres_max_"))),
        max_length=size_of(
            fields,
            "tokenizer_model_max_length" if fields.get("tokenizer_model_max_length") else "max_position_embeddings",
        ),
    )


def _transformer_sizes(fields: dict[str, Any]) -> dict[str, Any]:
    heads = size_of(fields, "num_attention_heads")
    key_value_heads = heads if fields.get("num_key_value_heads") is None else size_of(fields, "num_key_value_heads")
    hidden = size_of(fields, "hidden_size")
    if hidden % heads:
        raise CheckpointError(f"hidden_size={hidden} is not divisible by num_attention_heads={heads}")
    return {
        "hidden_size": hidden,
        "intermediate_size": size_of(fields, "intermediate_size"),
        "num_hidden_layers": size_of(fields, "num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "vocab_size": size_of(fields, "vocab_size"),
        "max_position_embeddings": size_of(fields, "max_position_embeddings"),
        "rms_norm_eps": number_of(fields, "rms_norm_eps"),
        "rope_theta": number_of(fields, "rope_theta"),
    }


def _text_only_config(fields: dict[str, Any]) -> ModelConfig:
    sizes = _transformer_sizes(fields)
    return ModelConfig(
        **sizes,
        attention_bias=False,
        causal=False,
        vision=NO_VISION,
        projector_depth=0,
        image_aspect_ratio="",
        image_grid_pinpoints=(),
        max_tiles=0,
        max_length=sizes["max_position_embeddings"],
        text_only=True,
    )


def best_resolution(image_size: tuple[int, int], pinpoints: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """The (width, height) of ``pinpoints`` that keeps most of the image's pixels, then wastes least.

    Source: ``select_best_resolution`` of the authors' mm_utils.py; the first of equals wins.
    """
    width, height = image_size
    best, best_kept, best_wasted = pinpoints[0], 0, math.inf
    for candidate_width, candidate_height in pinpoints:
        scale = min(candidate_width / width, candidate_height / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        wasted = candidate_width * candidate_height - kept
        if kept > best_kept or (kept == best_kept and wasted < best_wasted):
            best, best_kept, best_wasted = (candidate_width, candidate_height), kept, wasted
    return best


def _vision_config(fields: dict[str, Any], directory: Path | None) -> VisionConfig:
    """Sizes of the tower: ``vision_config`` if present, else what ``mm_vision_tower`` points to or is known by."""
    sizes = fields.get("vision_config")
    tower = fields.get("mm_vision_tower")
    if sizes is None and isinstance(tower, str):
        sizes = _tower_sizes(tower, directory)
    if not isinstance(sizes, dict):
        raise CheckpointError(
            f"mm_vision_tower={tower!r}: its sizes are unknown; add a 'vision_config' object with "
            "hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, image_size, patch_size"
        )
    require(sizes, "hidden_act", "gelu_pytorch_tanh", default="gelu_pytorch_tanh")
    config = VisionConfig(
        hidden_size=size_of(sizes, "hidden_size"),
        intermediate_size=size_of(sizes, "intermediate_size"),
        num_hidden_layers=size_of(sizes, "num_hidden_layers"),
        num_attention_heads=size_of(sizes, "num_attention_heads"),
        image_size=size_of(sizes, "image_size"),
        patch_size=size_of(sizes, "patch_size"),
        layer_norm_eps=number_of(sizes, "layer_norm_eps") if "layer_norm_eps" in sizes else 1e-6,
    )
    if config.hidden_size % config.num_attention_heads:
        raise CheckpointError(
            f"vision hidden_size={config.hidden_size} is not divisible by num_attention_heads="
            f"{config.num_attention_heads}"
        )
    if config.num_hidden_layers < 2 or config.grid < 1:
        raise CheckpointError("vision_config: needs at least 2 layers and an image no smaller than a patch")
    return config


def _tower_sizes(tower: str, directory: Path | None) -> dict[str, Any] | None:
    if directory is not None:
        local = directory / tower / "config.json"
        try:
            content = json.loads(local.read_text(encoding="utf-8")) if local.is_file() else None
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"mm_vision_tower={tower!r:.40}: can't be read ({one_line(error)})") from None
        if isinstance(content, dict):
            return content.get("vision_config", content)
    for suffix, sizes in _KNOWN_TOWERS.items():
        if tower.rstrip("/").endswith(suffix):
            return dict(sizes)
    return None


def _pinpoints(fields: dict[str, Any], tile: int) -> tuple[tuple[int, int], ...]:
    """Pixel sizes a tiled image may take: a list, also as text; ``(1x1),...,(6x6)`` counts in tiles (mm_utils.py)."""
    value = fields.get("image_grid_pinpoints")
    if isinstance(value, str) and "x" not in value:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value.translate(str.maketrans("()", "[]")))
    if isinstance(value, str):
        corners = re.findall(r"\(([1-9]\d{0,3})x([1-9]\d{0,3})\)", value)
        if len(corners) < 2:
            raise CheckpointError(f"image_grid_pinpoints={value!r:.80}: expected '(1x1),...,(6x6)' or a list of pairs")
        (low_w, low_h), (high_w, high_h) = (tuple(map(int, pair)) for pair in (corners[0], corners[-1]))
        if not 0 < max(0, high_w - low_w + 1) * max(0, high_h - low_h + 1) <= MOST_GRIDS:
            raise CheckpointError(f"image_grid_pinpoints={value!r:.80}: must span 1 to {MOST_GRIDS:,} grids")
        return tuple((w * tile, h * tile) for w in range(low_w, high_w + 1) for h in range(low_h, high_h + 1))
    if not isinstance(value, list) or not 0 < len(value) <= MOST_GRIDS:
        raise CheckpointError(f"image_grid_pinpoints={value!r:.80}: expected a list of [width, height] in pixels")
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(n, int) and 0 < n <= MOST for n in pair):
            raise CheckpointError(f"image_grid_pinpoints: {pair!r:.80} is not a [width, height] pair")
        if pair[0] % tile or pair[1] % tile:
            raise CheckpointError(f"image_grid_pinpoints: {pair!r} is not a multiple of the tile size {tile}")
    return tuple((pair[0], pair[1]) for pair in value)
