"""Parts of videos and folders of frames."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_video import STEP, write_video

from lladav_eval.errors import MediaError
from lladav_eval.processing.decoding import clip_indices, frame_indices
from lladav_eval.processing.video import read_video
from lladav_eval.records import VideoClip


def shades(frames: list[np.ndarray]) -> list[int]:
    return [round(float(frame.mean()) / STEP) for frame in frames]


@pytest.fixture(params=["decord", "av"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "av":
        monkeypatch.setitem(sys.modules, "decord", None)
    else:
        pytest.importorskip("decord")
    return str(request.param)


def test_a_clip_of_a_file_shows_only_its_seconds(tmp_path: Path, reader: str) -> None:
    path = write_video(tmp_path / "a.mp4", 40)  # ten frames a second
    assert shades(read_video(VideoClip(path, 1.0, 2.0), 3)) == [10, 15, 20]
    assert shades(read_video(VideoClip(path, 2.04, None), 2)) == [20, 39]
    assert shades(read_video(VideoClip(path, None, 0.5), 2)) == [0, 5]
    assert shades(read_video(VideoClip(path, 3.0, 99.0), 2)) == [30, 39]
    assert shades(read_video(VideoClip(path), 4)) == shades(read_video(path, 4))


def test_a_clip_past_the_end_is_an_error_that_says_so(tmp_path: Path, reader: str) -> None:
    path = write_video(tmp_path / "a.mp4", 40)
    with pytest.raises(MediaError, match=r"a\.mp4: has no frame between 7 s and 9 s \(40 frames, 4\.0 s\)"):
        read_video(VideoClip(path, 7.0, 9.0), 4)


def write_frames(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (8, 6), (number * STEP,) * 3).save(folder / name)
    return folder


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    names = [f"{number}.{'PNG' if number == 3 else 'png'}" for number in range(1, 13)]
    folder = write_frames(tmp_path / "frames", names)
    (folder / "notes.txt").write_text("no frame")
    assert shades(read_video(folder, 12)) == list(range(12))
    assert shades(read_video(folder, 3)) == [0, 5, 11]
    assert shades(read_video(write_frames(tmp_path / "digits", ["²1.png", "²2.png"]), 2)) == [0, 1]


def test_frames_of_a_folder_have_three_channels_whatever_their_mode(tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "RGBA", "P", "RGB")):
        Image.new(mode, (8, 6)).save(tmp_path / f"{number}.png")
    assert {frame.shape for frame in read_video(tmp_path, 4)} == {(6, 8, 3)}


def test_a_clip_of_a_folder_counts_frames_from_one(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames", [f"{number:05d}.png" for number in range(1, 31)])
    assert shades(read_video(VideoClip(folder, 2.0, 4.0, fps=3.0), 3)) == [5, 8, 11]
    assert shades(read_video(VideoClip(folder, 0.0, 0.1, fps=3.0), 2)) == [0, 0]
    assert shades(read_video(VideoClip(folder, 8.0, 38.3, fps=3.0), 2)) == [23, 29]
    with pytest.raises(MediaError, match="frame rate"):
        read_video(VideoClip(folder, 1.0, 2.0), 3)


def test_a_folder_without_frames_or_with_a_broken_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="has no frames"):
        read_video(tmp_path / "empty", 4)
    folder = write_frames(tmp_path / "frames", ["1.png", "2.png"])
    (folder / "2.png").write_bytes(b"broken")
    with pytest.raises(MediaError, match=r"2\.png"):
        read_video(folder, 2)


@given(
    total=st.integers(1, 500),
    count=st.integers(1, 40),
    start=st.none() | st.floats(0, 60),
    length=st.none() | st.floats(0, 60),
    fps=st.sampled_from([3.0, 24.0, 29.97]),
)
def test_indices_stay_inside_the_clip(
    total: int, count: int, start: float | None, length: float | None, fps: float
) -> None:
    end = None if length is None else (start or 0.0) + length
    clip = VideoClip("v.mp4", start, end)
    if round((start or 0.0) * fps) > total - 1:
        with pytest.raises(MediaError):
            clip_indices(total, count, clip, fps)
        return
    found = clip_indices(total, count, clip, fps)
    assert len(found) == count
    assert found == sorted(found)
    assert found[0] == round((start or 0.0) * fps)
    assert found[-1] <= (total - 1 if end is None else min(round(end * fps), total - 1))
    if start is None and end is None:
        assert found == frame_indices(total, count)
