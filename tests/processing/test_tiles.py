from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from toy_processing import make_config

from lladav_eval.model.config import ModelConfig, best_resolution, read_config
from lladav_eval.processing.tiles import anyres_pixels, pad_pixels, resize_and_pad, squeezed_pixels

RECORDED = json.loads((Path(__file__).parents[1] / "golden" / "preprocess.json").read_text())
OFFICIAL_PINPOINTS = tuple((w * 384, h * 384) for w in range(1, 7) for h in range(1, 7))
SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(values, "RGBA").convert(mode)


def plain_resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize((size[0], image.height), Image.BICUBIC).resize(size, Image.BICUBIC)


def plain_pixels(image: Image.Image) -> torch.Tensor:
    """One tile the way the authors' image processor does it: float64 scaling, float32 normalization."""
    scaled = (np.asarray(image.convert("RGB")) * (1 / 255)).astype(np.float32)
    return torch.from_numpy(((scaled - np.float32(0.5)) / np.float32(0.5)).transpose(2, 0, 1).copy())


def plain_anyres(image: Image.Image, tile: int, pinpoints: list[tuple[int, int]]) -> torch.Tensor:
    """Crop after crop, as the method is described; RGB only."""

    def merit(size: tuple[int, int]) -> tuple[int, int]:
        scale = min(size[0] / image.width, size[1] / image.height)
        kept = min(int(image.width * scale) * int(image.height * scale), image.width * image.height)
        return kept, -(size[0] * size[1] - kept)

    width, height = max(pinpoints, key=merit)  # the first of equals
    if width / image.width < height / image.height:
        fitted = (width, min(height, math.ceil(image.height * (width / image.width))))
    else:
        fitted = (min(width, math.ceil(image.width * (height / image.height))), height)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(plain_resize(image, fitted), ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
    tiles = [plain_resize(image, (tile, tile))]
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            tiles.append(canvas.crop((left, top, left + tile, top + tile)))
    return torch.stack([plain_pixels(piece) for piece in tiles])


def plain_pad(image: Image.Image, tile: int) -> torch.Tensor:
    side = max(image.size)
    square = Image.new("RGB", (side, side), (127, 127, 127))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return plain_pixels(plain_resize(square, (tile, tile)))[None]


def sha256(pixels: torch.Tensor) -> str:
    return hashlib.sha256(pixels.numpy().tobytes()).hexdigest()


@pytest.fixture(scope="module")
def recorded(golden_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((golden_dir / "preprocess.json").read_text())
    return content


@pytest.fixture(scope="module")
def configs(golden_dir: Path) -> dict[str, ModelConfig]:
    return {side: read_config(golden_dir / f"tiny-lladav-{side}") for side in ("76", "384")}


@pytest.fixture(scope="module")
def images(golden_dir: Path) -> dict[str, Image.Image]:
    return {path.stem: Image.open(path) for path in sorted((golden_dir / "images").iterdir())}


def test_golden_pixels_are_byte_for_byte_equal(
    recorded: dict[str, Any], configs: dict[str, ModelConfig], images: dict[str, Image.Image], golden_dir: Path
) -> None:
    """All recorded images, all modes: equal hashes with Pillow 13 too, though the recordings were made with 10.3."""
    different, defects = set(), set()
    for kind, make in (("anyres", anyres_pixels), ("pad", pad_pixels)):
        for key, case in recorded[kind].items():
            name, side = key.split("@")
            pixels = make(images[name], configs[side])
            if "error" in case:  # the authors' code crashes on these; ours gives a picture
                assert pixels.shape == (1, 3, int(side), int(side))
                continue
            assert list(pixels.shape) == (case["shape"][1:] if kind == "anyres" else case["shape"])
            if sha256(pixels) != case["sha256_f32"]:
                different.add(f"{kind}/{key}")
            # Padding a palette image to a square loses its palette in the authors' code: a defect, right in ours.
            if (kind, case["mode"]) == ("pad", "P") and len(set(case["size_wh"])) == 2:
                defects.add(f"{kind}/{key}")
    with np.load(golden_dir / "video_frames.npz") as videos:
        for key, case in recorded["video"].items():
            name, side = key.split("@")
            pixels = squeezed_pixels([Image.fromarray(frame) for frame in videos[name]], configs[side])
            if sha256(pixels) != case["sha256_f32"]:
                different.add(f"video/{key}")
    assert different == defects, f"with Pillow {Image.__version__}"


def test_golden_whole_tensors(
    configs: dict[str, ModelConfig], images: dict[str, Image.Image], golden_dir: Path
) -> None:
    tensors = load_file(golden_dir / "pixels_384.safetensors")
    assert tensors
    for key, tensor in tensors.items():
        kind, name = key.split("/")
        if kind == "anyres":
            pixels = anyres_pixels(images[name], configs["384"])[None]
        else:
            pixels = pad_pixels(images[name], configs["384"])
        assert pixels.shape == tensor.shape
        assert (pixels - tensor).abs().max() <= 1 / 255


@pytest.mark.parametrize("case", RECORDED["best_resolution"], ids=lambda case: f"{case['size']}@{case['tile']}")
def test_recorded_grids(case: dict[str, Any]) -> None:
    tile = case["tile"]
    pinpoints = tuple((w * tile, h * tile) for w in range(1, 7) for h in range(1, 7))
    width, height = best_resolution(tuple(case["size"]), pinpoints)
    assert [width, height] == case["best"]
    assert width * height // tile**2 + 1 == case["tiles"]


@given(width=st.integers(1, 6000), height=st.integers(1, 6000))
def test_grid_choice_agrees_with_scoring_every_candidate(width: int, height: int) -> None:
    def merit(size: tuple[int, int]) -> tuple[int, int]:
        scale = min(size[0] / width, size[1] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - size[0] * size[1]

    assert best_resolution((width, height), OFFICIAL_PINPOINTS) == max(OFFICIAL_PINPOINTS, key=merit)


@settings(max_examples=40, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99))
def test_anyres_equals_the_plain_way(size: tuple[int, int], seed: int) -> None:
    config, image = make_config(16), noise(*size, seed=seed)
    assert torch.equal(anyres_pixels(image, config), plain_anyres(image, 16, list(config.image_grid_pinpoints)))


@settings(max_examples=40, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99))
def test_pad_equals_the_plain_way(size: tuple[int, int], seed: int) -> None:
    image = noise(*size, seed=seed)
    assert torch.equal(pad_pixels(image, make_config(16)), plain_pad(image, 16))


@settings(max_examples=60, deadline=None)
@given(size=SIZES, mode=st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "F", "I", "HSV"]))
def test_any_size_and_mode_gives_finite_pixels(size: tuple[int, int], mode: str) -> None:
    config = make_config(8)
    image = noise(*size).convert("RGB").convert("L" if mode in ("F", "I") else mode).convert(mode)
    pixels = anyres_pixels(image, config)
    assert pixels.shape[1:] == (3, 8, 8)
    assert 2 <= len(pixels) <= 37
    for part in (pixels, pad_pixels(image, config), squeezed_pixels([image], config)):
        assert part.dtype == torch.float32
        assert part.is_contiguous()
        assert -1 <= part.min() <= part.max() <= 1


@pytest.mark.parametrize("size", [(30_000, 1), (20_000, 100), (1, 9_000), (50, 9_000)])
def test_long_strips_need_little_memory(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    new, areas = Image.new, []
    monkeypatch.setattr(Image, "new", lambda mode, wanted, *a: areas.append(math.prod(wanted)) or new(mode, wanted, *a))
    config = make_config(16)
    assert pad_pixels(noise(*size), config).shape == (1, 3, 16, 16)
    assert anyres_pixels(noise(*size), config).shape == (2, 3, 16, 16)
    assert max(areas) < 2**25  # the padded squares would have from 8e7 to 9e8


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(50, 70)
    monkeypatch.setattr("lladav_eval.processing.tiles._STRIP_PIXELS", 70 * 9)
    assert torch.equal(pad_pixels(image, make_config(16)), plain_pad(image, 16))


def test_grey_and_transparent_images_look_like_their_rgb(toy_config: ModelConfig) -> None:
    grey = noise(37, 23, "L")
    assert torch.equal(anyres_pixels(grey, toy_config), anyres_pixels(grey.convert("RGB"), toy_config))
    assert torch.equal(pad_pixels(grey, toy_config), pad_pixels(grey.convert("RGB"), toy_config))
    opaque = noise(37, 23, "RGB").convert("RGBA")
    assert torch.equal(anyres_pixels(opaque, toy_config), anyres_pixels(opaque.convert("RGB"), toy_config))
    palette = noise(37, 23, "P")
    assert torch.equal(pad_pixels(palette, toy_config), pad_pixels(palette.convert("RGB"), toy_config))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "I", "F"])
def test_other_colours_become_rgb_after_the_scaling(mode: str, toy_config: ModelConfig) -> None:
    values = np.random.default_rng(0).integers(0, 256, 37 * 23 * len(Image.new(mode, (1, 1)).getbands()))
    image = Image.frombytes(
        mode, (37, 23), values.astype({"I": np.int32, "F": np.float32}.get(mode, np.uint8)).tobytes()
    )
    side = toy_config.vision.image_size
    assert torch.equal(anyres_pixels(image, toy_config)[0], plain_pixels(plain_resize(image, (side, side))))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_colours_behind_transparency_stay_where_nothing_is_scaled(mode: str, toy_config: ModelConfig) -> None:
    side = toy_config.vision.image_size
    image = Image.frombytes(mode, (side, side), np.random.default_rng(0).bytes(side * side * len(mode)))
    assert torch.equal(anyres_pixels(image, toy_config)[0], plain_pixels(image.convert("RGB")))


def test_deep_grey_keeps_its_shades(toy_config: ModelConfig) -> None:
    shades = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    deep, shallow = Image.fromarray(shades), Image.fromarray((shades >> 8).astype(np.uint8))
    assert deep.mode == "I;16"
    assert torch.equal(anyres_pixels(deep, toy_config), anyres_pixels(shallow, toy_config))


def test_resize_and_pad_centres_on_black() -> None:
    canvas = np.asarray(resize_and_pad(Image.new("RGB", (40, 10), (200, 100, 50)), (20, 20)))
    assert (canvas[:7] == 0).all()
    assert (canvas[7:12] == (200, 100, 50)).all()
    assert (canvas[12:] == 0).all()


def test_inputs_stay_as_they_were(toy_config: ModelConfig) -> None:
    image = noise(16, 16)
    before = image.tobytes()
    anyres_pixels(image, toy_config).fill_(0)
    pad_pixels(image, toy_config).fill_(0)
    assert image.tobytes() == before
