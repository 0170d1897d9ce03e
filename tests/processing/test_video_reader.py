"""Videos are decoded apart: a crash or a hang of a decoder is one unreadable video."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from processing.test_video import write_video

from lladav_eval.errors import MediaError
from lladav_eval.processing.decoding import LENGTH, decode, serve
from lladav_eval.processing.video_reader import VideoReader, VideoReaders
from lladav_eval.records import VideoClip


@pytest.fixture
def reader() -> Iterator[VideoReader]:
    found = VideoReader(longest=20.0)
    yield found
    found.close()


@pytest.fixture
def endless(tmp_path: Path) -> VideoClip:
    """A file that never gives a byte: opening it takes for ever."""
    os.mkfifo(tmp_path / "endless.mp4")
    return VideoClip(tmp_path / "endless.mp4")


def test_frames_are_those_decoded_here(tmp_path: Path, reader: VideoReader) -> None:
    clip = VideoClip(write_video(tmp_path / "a.mp4", 20), 0.5, 1.5)
    for name in ("av", "decord"):
        if name == "decord":
            pytest.importorskip("decord")
        here, apart = decode(clip, 30, name), reader.read(clip, 30, name)
        assert (apart.indices, apart.fps) == (here.indices, here.fps)
        assert all(np.array_equal(one, other) for one, other in zip(apart.frames, here.frames, strict=True))
        assert len({id(frame) for frame in apart.frames}) == len(set(apart.indices)), "repeats are the same array"


def test_repeated_frames_travel_once(tmp_path: Path) -> None:
    clip, replies = {"path": str(write_video(tmp_path / "a.mp4", 5))}, io.BytesIO()
    serve(io.BytesIO(json.dumps({"clip": clip, "count": 30, "reader": "av"}).encode()), replies)
    content = replies.getvalue()
    reply = json.loads(content[LENGTH.size : LENGTH.size + LENGTH.unpack(content[: LENGTH.size])[0]])
    assert (len(reply["shapes"]), len(reply["order"])) == (5, 30)


def test_a_crash_fails_the_video_and_the_next_one_is_read(
    tmp_path: Path, reader: VideoReader, endless: VideoClip
) -> None:
    def crash() -> None:
        while reader._process is None:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(reader._process.pid, signal.SIGSEGV)

    thread = threading.Thread(target=crash)
    thread.start()
    with pytest.raises(MediaError, match=r"endless\.mp4: decoding it crashes the decoder; convert it"):
        reader.read(endless, 4, "av")
    thread.join()
    assert len(reader.read(VideoClip(write_video(tmp_path / "a.mp4", 5)), 4, "av").frames) == 4


def test_a_process_that_has_ended_between_two_videos_fails_none(tmp_path: Path, reader: VideoReader) -> None:
    clip = VideoClip(write_video(tmp_path / "a.mp4", 5))
    for _ in range(2):
        assert len(reader.read(clip, 4, "av").frames) == 4
        assert reader._process is not None
        reader._process.kill()
        reader._process.wait()


def test_a_hang_fails_the_video_and_leaves_no_process(tmp_path: Path, endless: VideoClip) -> None:
    reader = VideoReader(longest=0.3)
    process = reader._running()
    with pytest.raises(MediaError, match=r"endless\.mp4: decoding it takes longer than 0\.3 s"):
        reader.read(endless, 4, "av")
    assert process.poll() is not None
    assert reader._process is None


def test_a_file_that_is_no_video_costs_no_new_process(tmp_path: Path, reader: VideoReader) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n" * 200)
    pids = []
    for clip in (VideoClip(tmp_path / "text.mp4"), VideoClip(write_video(tmp_path / "a.mp4", 5))) * 2:
        with contextlib.suppress(MediaError):
            reader.read(clip, 2, "av")
        assert reader._process is not None
        pids.append(reader._process.pid)
    assert len(set(pids)) == 1


def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path, reader: VideoReader) -> None:
    reader.read(VideoClip(write_video(tmp_path / "a.mp4", 5)), 1, "av")
    process = reader._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # what the end of this process, however it comes, does
    assert process.wait(timeout=10) == 0


def test_the_process_ends_in_the_middle_of_a_video_too(reader: VideoReader, endless: VideoClip) -> None:
    process = reader._running()
    assert process.stdin is not None
    asked = {"clip": {"path": str(endless.path)}, "count": 1, "reader": "av"}
    process.stdin.write(json.dumps(asked).encode() + b"\n")
    process.stdin.close()
    assert process.wait(timeout=10) == 0


@contextlib.contextmanager
def reading_for_ever(reader: VideoReader | VideoReaders, endless: VideoClip) -> Iterator[None]:
    """Another thread reads a video that never ends; the block is to end its process."""
    reasons = []

    def read() -> None:
        with pytest.raises(MediaError) as caught:
            reader.read(endless, 1, "av")
        reasons.append(str(caught.value))

    thread = threading.Thread(target=read)
    thread.start()
    yield
    thread.join()
    assert "crashes the decoder" in reasons[0]  # it was ended before it had taken too long


def test_closing_waits_for_no_video(reader: VideoReader, endless: VideoClip) -> None:
    with reading_for_ever(reader, endless):
        while reader._process is None:
            time.sleep(0.01)
        process = reader._process
        reader.close()
        assert process.wait() == -signal.SIGKILL


def test_a_forked_child_has_a_process_of_its_own(tmp_path: Path, reader: VideoReader) -> None:
    first = reader._running()
    reader._owner += 1
    reader.close()  # at the child's end
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(0.2)
    reader._process = first
    second = reader._running()
    assert first.pid != second.pid
    first.kill()
    first.wait()


def test_threads_that_read_at_the_same_time_have_a_process_each(tmp_path: Path, endless: VideoClip) -> None:
    clip, readers = VideoClip(write_video(tmp_path / "a.mp4", 5)), VideoReaders()
    with reading_for_ever(readers, endless):
        while not readers._all or readers._all[0]._process is None:
            time.sleep(0.01)
        for _ in range(3):
            assert len(readers.read(clip, 4, "av").frames) == 4
        assert len(readers._all) == 2, "one after the other share a process"
        readers.close()
    assert all(reader._process is None for reader in readers._all)
