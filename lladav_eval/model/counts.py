"""How many tiles and tokens an image or a video becomes, without its pixels: the arithmetic of model/connector.py."""

from __future__ import annotations

import math

from lladav_eval.model.config import ModelConfig, best_resolution
from lladav_eval.model.connector import VIDEO_POOL_STRIDE


def tiled_image(config: ModelConfig, size: tuple[int, int]) -> tuple[int, int]:
    """(tiles, tokens) of the only image of a question, of ``size`` (width, height) in pixels."""
    if not config.max_tiles:
        return padded_image(config)
    side, tile = config.vision.grid, config.vision.image_size
    grid_width, grid_height = best_resolution(size, config.image_grid_pinpoints)
    columns, rows = grid_width // tile, grid_height // tile
    width, height = _without_padding(columns * side, rows * side, size)
    times = math.sqrt(width * height / (config.max_tiles * side**2))
    if times > 1.1:
        width, height = int(width // times), int(height // times)
    return 1 + columns * rows, side**2 + height * (width + 1)


def padded_image(config: ModelConfig) -> tuple[int, int]:
    """(tiles, tokens) of each of several images."""
    return 1, config.vision.grid**2


def video(config: ModelConfig, frames: int) -> tuple[int, int]:
    """(frames, tokens) of a video."""
    side = math.ceil(config.vision.grid / VIDEO_POOL_STRIDE)
    newlines = {"grid": frames * side, "frame": frames, "one_token": 1, "no_token": 0}
    return frames, frames * side**2 + newlines[config.newline_position]


def _without_padding(grid_width: int, grid_height: int, size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    if width / height > grid_width / grid_height:
        border = (grid_height - int(height * (grid_width / width))) // 2
        return grid_width, grid_height - 2 * border
    border = (grid_width - int(width * (grid_height / height))) // 2
    return grid_width - 2 * border, grid_height
