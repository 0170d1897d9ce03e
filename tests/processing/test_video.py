from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lladav_eval.errors import MediaError, SettingError
from lladav_eval.model.config import ModelConfig
from lladav_eval.processing import decoding
from lladav_eval.processing.decoding import decode, frame_indices
from lladav_eval.processing.tiles import squeezed_pixels
from lladav_eval.processing.video import frames_to_pixels, read_video
from lladav_eval.records import VideoClip

av = pytest.importorskip("av")

RECORDED = json.loads((Path(__file__).parents[1] / "golden" / "preprocess.json").read_text())["frame_sampling"]
STEP = 6  # brightness that each frame adds


def write_video(path: Path, frames: int, codec: str = "libx264") -> Path:
    """A video whose frame i is a plain grey of brightness 6 i (modulo 256)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.bit_rate = 4_000_000
        container.start_encoding()
        for index in range(frames):
            grey = np.full((48, 64, 3), index * STEP % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        if frames:
            container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(params=["decord", "av"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with decord, then as on a machine without it."""
    if request.param == "av":
        monkeypatch.setitem(sys.modules, "decord", None)
    else:
        pytest.importorskip("decord")
    return str(request.param)


@pytest.mark.parametrize("total", sorted(RECORDED, key=int))
def test_recorded_frame_choice(total: str) -> None:
    assert frame_indices(int(total), 32) == RECORDED[total]


@given(total=st.integers(1, 10**6), count=st.integers(1, 200))
def test_frames_are_spread_from_first_to_last(total: int, count: int) -> None:
    indices = frame_indices(total, count)
    assert len(indices) == count
    assert indices == sorted(indices)
    assert indices[0] == 0
    assert count == 1 or indices[-1] == total - 1
    steps = np.diff(indices)
    assert count == 1 or steps.max() - steps.min() <= 1


def test_no_frames_asked_for_is_a_setting_error() -> None:
    with pytest.raises(SettingError, match="number of frames=0"):
        frame_indices(10, 0)


@pytest.mark.parametrize(("codec", "name"), [("libx264", "a.mp4"), ("mpeg4", "a.avi"), ("libx264", "a.mkv")])
def test_reads_the_frames_it_chose(tmp_path: Path, reader: str, codec: str, name: str) -> None:
    path = write_video(tmp_path / name, 40, codec)
    for count in (1, 8, 32, 40):
        frames = read_video(path, count)
        assert {frame.shape for frame in frames} == {(48, 64, 3)}
        assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}
        brightness = np.array([frame.mean() for frame in frames])
        assert np.abs(brightness - STEP * np.array(frame_indices(40, count))).max() < STEP / 2


def test_short_video_repeats_frames(tmp_path: Path, reader: str) -> None:
    frames = read_video(str(write_video(tmp_path / "five.mp4", 5)), 32)
    assert len(frames) == 32
    assert len({id(frame) for frame in frames}) == 5
    assert [round(float(frame.mean()) / STEP) for frame in frames] == RECORDED["5"]


def broken_files(directory: Path) -> dict[Path, str]:
    """Each kind of unreadable video, and what its error must say."""
    whole = write_video(directory / "whole.mp4", 30).read_bytes()
    (directory / "text.mp4").write_text("not a video\n" * 200)
    (directory / "empty.mp4").touch()
    (directory / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    start = damaged.index(b"mdat") + 8
    damaged[start : start + 900] = bytes(900)
    (directory / "damaged.mp4").write_bytes(damaged)
    return {
        directory / "text.mp4": "not a video",
        directory / "empty.mp4": "empty file",
        directory / "truncated.mp4": "not a video, or a damaged one",
        directory / "damaged.mp4": "damaged",
        directory / "absent.mp4": "no such video file",
        directory: "the folder has no frames",
        write_video(directory / "none.avi", 0, "mpeg4"): "the video has no frames",
        write_video(directory / "none.mp4", 0, "mpeg4"): "no video stream|no frames",
        write_sound(directory / "sound.mp4"): "no video stream",
    }


def test_unreadable_videos_say_why_in_one_line(tmp_path: Path, reader: str, capfd: pytest.CaptureFixture[str]) -> None:
    files = broken_files(tmp_path)
    capfd.readouterr()
    for path, reason in files.items():
        with pytest.raises(MediaError, match=reason) as caught:
            read_video(path, 8)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_video_for_which_memory_is_too_small_says_so(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, most = VideoClip(write_video(tmp_path / "a.mp4", 5)), 8 * 64 * 48 * 3
    monkeypatch.setattr(decoding, "MOST_BYTES", most)
    assert len(decode(clip, 8, reader).frames) == 8
    with pytest.raises(MediaError, match="9 frames of 64 x 48 pixels are more than"):
        decode(clip, 9, reader)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(MediaError, match="frames of 64 x 48 pixels; scale"):
        decode(clip, 8, reader)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 64 * 48)

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding, "clip_indices", full)
    with pytest.raises(MediaError, match=r"a\.mp4: its frames don't fit in memory"):
        decode(clip, 8, reader)


def test_video_that_breaks_off_later(tmp_path: Path, reader: str) -> None:
    content = bytearray(write_video(tmp_path / "a.mp4", 40).read_bytes())
    end = content.index(b"moov") - 4
    content[end - 400 : end] = bytes(400)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=r"a\.mp4: its frames can't be decoded") as caught:
        read_video(tmp_path / "a.mp4", 8)
    assert "\n" not in str(caught.value)


def test_frames_are_squeezed_and_repeats_scaled_once(toy_config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (9, 30, 3), dtype=np.uint8) for _ in range(3)]
    order = [0, 0, 1, 2, 2]
    images = [Image.fromarray(array) for array in arrays]
    expected = torch.cat([squeezed_pixels([images[index]], toy_config) for index in order])
    calls: list[int] = []
    monkeypatch.setattr(
        "lladav_eval.processing.video.squeezed_pixels",
        lambda unique, config: calls.append(len(unique)) or squeezed_pixels(unique, config),
    )
    assert torch.equal(frames_to_pixels([arrays[index] for index in order], toy_config), expected)
    assert torch.equal(frames_to_pixels([images[index] for index in order], toy_config), expected)
    assert calls == [3, 3]
