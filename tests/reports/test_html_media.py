"""Pictures of the report: scaled, stored once, bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lladav_eval.errors import UsageError
from lladav_eval.reports.html_media import FRAME_SIDE, FRAMES, IMAGE_SIDE, Media, MediaWriter


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.effect_noise((width, height), 90 + seed).convert("RGB")


def test_small_pictures_are_kept_exactly(tmp_path: Path) -> None:
    image = noise(30, 20)
    value = MediaWriter(tmp_path / "media", 10**6).value(Media([image]))
    ((name, width, height),) = value["files"]
    assert (width, height) == (30, 20)
    assert name.endswith(".png")
    assert Image.open(tmp_path / "media" / name).tobytes() == image.tobytes()
    assert value["note"] is None
    assert value["video"] is False


def test_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    value = MediaWriter(tmp_path, 10**8).value(Media([Image.new("RGB", (3000, 1500))]))
    ((name, width, height),) = value["files"]
    assert (width, height) == (IMAGE_SIDE, IMAGE_SIDE // 2)
    assert Image.open(tmp_path / name).size == (width, height)
    assert name.endswith(".jpg")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_every_mode_is_shown_as_the_model_sees_it(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (8, 8))
    ((name, _, _),) = MediaWriter(tmp_path, 10**6).value(Media([image]))["files"]
    assert Image.open(tmp_path / name).tobytes() == image.convert("RGB").tobytes()


def test_the_same_picture_is_stored_once(tmp_path: Path) -> None:
    writer = MediaWriter(tmp_path, 10**6)
    first, second = (writer.value(Media([noise(20, 20), noise(20, 20).copy()]))["files"] for _ in range(2))
    kept = {file[0] for file in first + second}
    assert {path.name for path in tmp_path.iterdir()} == kept
    image = Image.new("RGB", (9, 9))
    before = writer.spent
    writer.value(Media([image]))
    after = writer.spent
    writer.value(Media([image.copy()]))
    assert before < after == writer.spent


def test_a_video_gives_a_few_frames_with_the_first_and_the_last(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (640, 10), (number, 0, 0)) for number in range(32)]
    value = MediaWriter(tmp_path, 10**6).value(Media(frames, video=True))
    assert len(value["files"]) == FRAMES
    assert value["video"] is True
    shown = [Image.open(tmp_path / name) for name, _, _ in value["files"]]
    assert all(image.width == FRAME_SIDE for image in shown)
    reds = [image.getpixel((0, 0))[0] for image in shown]  # type: ignore[index]
    assert reds[0] == 0
    assert reds[-1] == 31
    assert reds == sorted(set(reds))


def test_pictures_beyond_the_budget_are_left_out_and_said_so(tmp_path: Path) -> None:
    writer = MediaWriter(tmp_path, 4000)
    values = [writer.value(Media([noise(30, 30, number)])) for number in range(4)]
    assert [len(value["files"]) for value in values] == [1, 0, 0, 0]
    assert values[0]["note"] is None
    assert all("--max-media" in value["note"] for value in values[1:])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000


def test_a_reason_is_passed_on(tmp_path: Path) -> None:
    value = MediaWriter(tmp_path / "media", 10).value(Media(note="truncated"))
    assert value == {"files": [], "video": False, "note": "truncated"}
    assert not (tmp_path / "media").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file")
    with pytest.raises(UsageError, match=r"media.*can't be written.*--out"):
        MediaWriter(tmp_path / "media", 10**6).value(Media([noise(3, 3)]))
