"""Images to tiles of pixel values: any-resolution grids for one image, padded squares for several.

Shapes: t is the tower's tile side in pixels; pixel values are float32 in [-1, 1].

Source: ``process_anyres_image`` and ``expand2square`` in train/llava/mm_utils.py, ``SigLipImageProcessor`` in
siglip_encoder.py, both of the authors. The recorded pixels come from Pillow 10.3; ``_resize`` keeps to its order of
passes, so that Pillow 13 gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lladav_eval.model.config import ModelConfig, best_resolution

MEAN = STD = 0.5
"""Normalization of every channel; the authors' defaults, which their checkpoints don't override."""

PAD_COLOUR = (int(MEAN * 255),) * 3
"""Around an image that is padded to a square."""

# Byte values to pixel values, with the authors' order of operations and roundings: float64 up to the division by 255.
_PIXEL_VALUES = ((np.arange(256) * (1 / 255)).astype(np.float32) - np.float32(MEAN)) / np.float32(STD)

_STRIP_PIXELS = 1 << 24  # many times the longest side there may be (media.py)

# Modes the authors' code resizes as they are; transparency and palettes then matter to the result.
_PREMULTIPLIED = {"RGBA": "RGBa", "LA": "La"}
_RESIZED_AS_IS = ("RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "YCbCr", "HSV", "LAB", "I", "F")


def anyres_pixels(image: Image.Image, config: ModelConfig) -> Tensor:
    """The whole image squeezed into one tile, then its tiles at the best grid, row by row: (1 + tiles, 3, t, t)."""
    tile = config.vision.image_size
    source = image if image.mode in _RESIZED_AS_IS else to_rgb(image)
    width, height = best_resolution(image.size, config.image_grid_pinpoints)
    canvas = resize_and_pad(source, (width, height))
    base = to_rgb(_resize(source, (tile, tile)))
    # (rows * t, columns * t, 3) -> (rows * columns, t, t, 3)
    grid = np.asarray(canvas).reshape(height // tile, tile, width // tile, tile, 3).swapaxes(1, 2)
    return to_pixels(np.concatenate((np.asarray(base)[None], grid.reshape(-1, tile, tile, 3))))


def pad_pixels(image: Image.Image, config: ModelConfig) -> Tensor:
    """The image centred on a grey square and scaled to one tile: (1, 3, t, t)."""
    return to_pixels(np.asarray(_pad_and_resize(to_rgb(image), config.vision.image_size))[None])


def squeezed_pixels(images: Sequence[Image.Image], config: ModelConfig) -> Tensor:
    """Each image scaled to one tile whatever its proportions, as the authors do with video frames: (n, 3, t, t)."""
    side = config.vision.image_size
    return to_pixels(np.stack([np.asarray(_resize(to_rgb(image), (side, side))) for image in images]))


def to_pixels(values: NDArray[np.uint8]) -> Tensor:
    """(n, height, width, 3) bytes to (n, 3, height, width) normalized float32."""
    channels_first = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return torch.from_numpy(_PIXEL_VALUES[channels_first])


def resize_and_pad(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale to fit into ``size`` (width, height), keeping proportions, centred on black.

    The mode is kept until after the scaling, as in the authors' code: see ``_resize``.
    """
    width, height = size
    scale_x, scale_y = width / image.width, height / image.height
    if scale_x < scale_y:
        fitted = (width, min(math.ceil(image.height * scale_x), height))
    else:
        fitted = (min(math.ceil(image.width * scale_y), width), height)
    canvas = Image.new("RGB", size, (0, 0, 0))
    canvas.paste(to_rgb(_resize(image, fitted)), ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
    return canvas


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB; transparency is dropped, 16-bit greys keep their upper byte (Pillow would clip them)."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Bicubic, rows first and columns second, whatever the version of Pillow; palette and 1-bit images by nearest.

    The results of the first pass are rounded and clipped to bytes, so the order matters. Pillow 10.3, which the
    recorded pixels come from, always scaled rows first; Pillow 13 starts with the columns of some tall images.
    """
    if image.size == size:
        return image
    if image.mode in ("P", "1"):
        return image.resize(size, Image.Resampling.NEAREST)
    if image.mode in _PREMULTIPLIED:  # as Pillow does, so that the colour of transparent pixels doesn't bleed
        return _resize(image.convert(_PREMULTIPLIED[image.mode]), size).convert(image.mode)
    narrowed = image.resize((size[0], image.height), Image.Resampling.BICUBIC)
    return narrowed.resize(size, Image.Resampling.BICUBIC)


def _pad_and_resize(image: Image.Image, side: int) -> Image.Image:
    """What padding to a square and scaling it to ``side`` gives, without ever holding the square.

    Pillow scales rows before columns, so padded strips of rows can be narrowed one at a time: an image of
    20,000 x 100 pixels needs megabytes instead of gigabytes.
    """
    width, height = image.size
    square = max(width, height)
    left, top = (square - width) // 2, (square - height) // 2
    narrowed = Image.new("RGB", (side, square), PAD_COLOUR)
    rows = _STRIP_PIXELS // square
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        strip = Image.new("RGB", (square, stop - start), PAD_COLOUR)
        strip.paste(image.crop((0, start, width, stop)), (left, 0))
        narrowed.paste(_resize(strip, (side, stop - start)), (0, top + start))
    return _resize(narrowed, (side, side))
