"""Tiles and tokens by arithmetic equal those of real tensors, at the official sizes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lladav_eval.model import counts
from lladav_eval.model.config import parse_config
from lladav_eval.model.connector import visual_tokens
from lladav_eval.model.official import OFFICIAL_FIELDS
from lladav_eval.processing.tiles import anyres_pixels

CONFIG = parse_config(OFFICIAL_FIELDS)
NEWLINE = torch.zeros(1)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6000), st.integers(1, 6000))
def test_a_tiled_image(width: int, height: int) -> None:
    tiles, tokens = counts.tiled_image(CONFIG, (width, height))
    features = torch.zeros(tiles, CONFIG.vision.grid**2, 1)
    assert len(visual_tokens(features, "anyres", (width, height), NEWLINE, CONFIG)) == tokens


@pytest.mark.parametrize("size", [(60, 40), (700, 40), (50, 900), (384, 384)])
def test_tiles_are_those_that_are_cut(size: tuple[int, int]) -> None:
    vision = dataclasses.replace(CONFIG.vision, image_size=16, patch_size=4)
    pinpoints = tuple((16 * columns, 16 * rows) for columns in range(1, 5) for rows in range(1, 5))
    config = dataclasses.replace(CONFIG, vision=vision, image_grid_pinpoints=pinpoints)
    assert len(anyres_pixels(Image.new("RGB", size), config)) == counts.tiled_image(config, size)[0]


def test_several_images_and_videos() -> None:
    patches = CONFIG.vision.grid**2
    for layout, frames, (tiles, tokens) in (
        ("pad", 1, counts.padded_image(CONFIG)),
        ("video", 32, counts.video(CONFIG, 32)),
    ):
        assert tiles == frames
        assert len(visual_tokens(torch.zeros(frames, patches, 1), layout, None, NEWLINE, CONFIG)) == tokens  # type: ignore[arg-type]
    assert counts.video(CONFIG, 32) == (32, 6720)  # 210 positions a frame, as the authors' users report
