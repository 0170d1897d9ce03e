"""From tower features to the tokens the language model sees.

Tile features are (tiles, P, D) with P = g x g patches a tile; results are (tokens, D).

Source: train/llava/model/llava_arch.py of the authors, function prepare_inputs_labels_for_multimodal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lladav_eval.model.config import ModelConfig, best_resolution
from lladav_eval.model.kernels import Linear
from lladav_eval.records import Layout

# The authors' evaluation overwrites the checkpoint's pooling settings with these (llava_onevision_llada.py).
VIDEO_POOL_STRIDE = 2


def build_projector(config: ModelConfig) -> nn.Module:
    """``mlp2x_gelu`` and its relatives: linear layers from the tower's width to the language model's, GELU between."""
    layers: list[nn.Module] = [Linear(config.vision.hidden_size, config.hidden_size)]
    if config.bare_projector:
        return layers[0]
    for _ in range(1, config.projector_depth):
        layers += [nn.GELU(), Linear(config.hidden_size, config.hidden_size)]
    return nn.Sequential(*layers)


def visual_tokens(
    features: Tensor, layout: Layout, image_size: tuple[int, int] | None, newline: Tensor, config: ModelConfig
) -> Tensor:
    """Arrange the projected features of one image or video as a token sequence.

    Args:
        features: (tiles, P, D): base tile then grid tiles (``anyres``), one tile (``pad``), or frames (``video``).
        layout: how the pixels were made.
        image_size: original (width, height); needed by ``anyres``.
        newline: (D,) learned embedding that ends a row of patches.
        config: sizes and grid of the checkpoint.
    """
    if layout == "anyres":
        assert image_size is not None
        return _anyres_tokens(features, image_size, newline, config)
    if layout == "video":
        return _video_tokens(features, newline, config.newline_position)
    # Several images: the authors' evaluation stacks one tile each, which skips the newline that training adds.
    return features.flatten(0, 1)


def _anyres_tokens(features: Tensor, image_size: tuple[int, int], newline: Tensor, config: ModelConfig) -> Tensor:
    side = config.vision.grid
    base, tiles = features[0], features[1:]
    width, height = best_resolution(image_size, config.image_grid_pinpoints)
    columns, rows = width // config.vision.image_size, height // config.vision.image_size
    # (rows * columns, g * g, D) -> (D, rows * g, columns * g): the picture as one map
    grid = tiles.view(rows, columns, side, side, -1).permute(4, 0, 2, 1, 3).flatten(3, 4).flatten(1, 2)
    grid = _remove_padding(grid, image_size)
    times = math.sqrt(grid.shape[1] * grid.shape[2] / (config.max_tiles * side**2))
    if times > 1.1:  # the authors' margin before a map is reduced
        size = [int(grid.shape[1] // times), int(grid.shape[2] // times)]
        grid = F.interpolate(grid[None], size, mode="bilinear")[0]
    return torch.cat((base, _with_newlines(grid, newline)))


def _remove_padding(grid: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Cut the rows or columns of (D, h, w) that only cover the black border around the image."""
    width, height = image_size
    grid_height, grid_width = grid.shape[1:]
    if width / height > grid_width / grid_height:
        border = (grid_height - int(height * (grid_width / width))) // 2
        return grid[:, border : grid_height - border, :]
    border = (grid_width - int(width * (grid_height / height))) // 2
    return grid[:, :, border : grid_width - border]


def _video_tokens(frames: Tensor, newline: Tensor, newline_position: str) -> Tensor:
    """Halve each frame's map bilinearly; every row, every frame or the video ends with the newline, or nothing does."""
    count, patches, _ = frames.shape
    side = math.isqrt(patches)
    pooled_side = math.ceil(side / VIDEO_POOL_STRIDE)
    maps = frames.transpose(1, 2).unflatten(2, (side, side))
    maps = F.interpolate(maps, [pooled_side, pooled_side], mode="bilinear")
    if newline_position == "grid":
        return torch.cat([_with_newlines(maps[index], newline) for index in range(count)])
    tokens = maps.flatten(2).transpose(1, 2)
    if newline_position == "frame":
        return torch.cat((tokens, newline.expand(count, 1, -1)), dim=1).flatten(0, 1)
    return torch.cat((tokens.flatten(0, 1), newline[None])) if newline_position == "one_token" else tokens.flatten(0, 1)


def _with_newlines(grid: Tensor, newline: Tensor) -> Tensor:
    """(D, h, w) to (h * (w + 1), D), each row followed by the newline embedding."""
    column = newline[:, None, None].expand(-1, grid.shape[1], 1)
    return torch.cat((grid, column), dim=2).flatten(1).transpose(0, 1)
