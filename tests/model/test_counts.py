"""Tiles and tokens by arithmetic equal those of real tensors, at the official sizes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lladav_eval.errors import CheckpointError
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


def test_other_ways_to_show_one_image() -> None:
    size = (2304, 2304)
    whole = parse_config({**OFFICIAL_FIELDS, "image_aspect_ratio": "anyres"})
    assert counts.tiled_image(CONFIG, size) == (37, 729 + 54 * 55)
    assert counts.tiled_image(whole, size) == (37, 729 + 162 * 163)
    assert len(visual_tokens(torch.zeros(37, 729, 1), "anyres", size, NEWLINE, whole)) == 729 + 162 * 163
    squares = {**OFFICIAL_FIELDS, "image_aspect_ratio": "pad", "image_grid_pinpoints": None}
    assert counts.tiled_image(parse_config(squares), size) == (1, 729)


def test_several_images_and_videos() -> None:
    patches = CONFIG.vision.grid**2
    for layout, frames, (tiles, tokens) in (
        ("pad", 1, counts.padded_image(CONFIG)),
        ("video", 32, counts.video(CONFIG, 32)),
    ):
        assert tiles == frames
        assert len(visual_tokens(torch.zeros(frames, patches, 1), layout, None, NEWLINE, CONFIG)) == tokens  # type: ignore[arg-type]
    assert counts.video(CONFIG, 32) == (32, 6720)  # 210 positions a frame, as the authors' users report


@pytest.mark.parametrize("position", ["grid", "frame", "one_token", "no_token"])
def test_where_a_video_s_newlines_go(position: str) -> None:
    """Pooled by hand: four patches of a frame's 4 x 4 become one, and -1 is the newline."""
    vision = dataclasses.replace(CONFIG.vision, image_size=16, patch_size=4)
    config = dataclasses.replace(CONFIG, vision=vision, newline_position=position)
    frames = torch.arange(3 * 16.0).view(3, 16, 1)
    wanted: list[float] = []
    for frame in frames.view(3, 4, 4):
        for row in (0, 2):
            wanted += [float(frame[row : row + 2, column : column + 2].mean()) for column in (0, 2)]
            wanted += [-1.0] * (position == "grid")
        wanted += [-1.0] * (position == "frame")
    wanted += [-1.0] * (position == "one_token")
    tokens = visual_tokens(frames, "video", None, torch.tensor([-1.0]), config)
    assert tokens.flatten().tolist() == pytest.approx(wanted)
    assert counts.video(config, 3) == (3, len(wanted))


def test_a_config_that_says_nothing_of_newlines_means_one() -> None:
    fields = {name: value for name, value in OFFICIAL_FIELDS.items() if name != "mm_newline_position"}
    assert parse_config(fields).newline_position == "one_token"  # the default in the authors' llava_arch.py
    with pytest.raises(CheckpointError, match="mm_newline_position"):
        parse_config({**fields, "mm_newline_position": "row"})
