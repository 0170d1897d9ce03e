"""Frames of a video file, chosen and decoded; also the program of the process that does so for the others.

The decoders are C libraries that a damaged or hostile file can crash or hold up for good. So they run in a process of
their own (video_reader.py), whose end is one failed sample.

Source: ``load_video`` in the authors' llava_onevision_llada.py. Frames are read by decord, which the recorded results
used; where decord is not installed (it has no wheels for some machines), PyAV reads the same frames more slowly.
"""

from __future__ import annotations

import json
import os
import re
import select
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lladav_eval.errors import MediaError, SettingError
from lladav_eval.media import MAX_PIXELS
from lladav_eval.records import VideoClip

if TYPE_CHECKING:
    import av

Frame = NDArray[np.uint8]
"""(height, width, 3) RGB."""

MOST_BYTES = 4 << 30
"""Memory that the frames of one video may take."""

LENGTH = struct.Struct(">Q")
"""Precedes the JSON text of a reply."""


def frame_indices(total: int, count: int) -> list[int]:
    """``count`` indices from the first to the last of ``total`` frames; short clips repeat frames."""
    if count < 1:
        raise SettingError(f"number of frames={count}: must be at least 1")
    return [int(index) for index in np.linspace(0, total - 1, count, dtype=int)]


def clip_indices(total: int, count: int, clip: VideoClip, fps: float, number_from: int = 0) -> list[int]:
    """``count`` indices spread evenly from the start to the end of a clip in a video of ``total`` frames.

    Seconds become frames as in MVBench's own code (``get_index`` of its notebook in Ask-Anything): the nearest frame,
    inside the video. The spread is the authors': first and last frame included.

    Args:
        number_from: number of the video's first frame; MVBench numbers those of a folder from 1.

    Raises:
        MediaError: if no frame lies between the bounds, or the video has no frame rate.
    """
    if clip.start is None and clip.end is None:
        return frame_indices(total, count)
    if not 0 < fps < float("inf"):
        raise MediaError(
            f"{clip.path}: has no frame rate, so seconds can't be turned into frames; give one or convert the video"
        )
    start, end = clip.start or 0.0, total / fps if clip.end is None else clip.end
    first = max(0, round(start * fps) - number_from)
    last = min(max(0, round(end * fps) - number_from), total - 1)
    if first > last:
        raise MediaError(
            f"{clip.path}: has no frame between {start:g} s and {end:g} s ({total} frames, {total / fps:.1f} s); "
            "get the file again"
        )
    return [first + index for index in frame_indices(last - first + 1, count)]


@dataclass(frozen=True)
class SampledVideo:
    """Frames taken from a video, and where they come from."""

    frames: list[Frame]
    indices: list[int]
    """0-based position of each frame in the video."""
    fps: float | None
    """Frames per second of the video; None where nobody knows."""


def decode(clip: VideoClip, count: int, reader: str) -> SampledVideo:
    """Decode ``count`` frames spread evenly over a clip of a video file, by ``reader`` ("decord" or "av").

    Raises:
        MediaError: if it is no video, has no frames, or its frames can't be decoded.
    """
    path = Path(clip.path)
    try:
        width, height = _first_frame_size(path)
        if width * height * 3 * count > MOST_BYTES:
            raise MediaError(
                f"{path}: {count} frames of {width} x {height} pixels are more than {MOST_BYTES >> 30} GiB; "
                "scale the video down or use fewer frames"
            )
        return (_read_with_decord if reader == "decord" else _read_with_av)(path, clip, count)
    except MemoryError:
        raise MediaError(f"{path}: its frames don't fit in memory; use fewer frames or a smaller video") from None


def _first_frame_size(path: Path) -> tuple[int, int]:
    """(width, height) of a video. What is none is refused by decoding its first frame, which gives a better reason
    than decord's."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path}: the file has no video stream")
            context = container.streams.video[0].codec_context
            if context.width * context.height > MAX_PIXELS:
                raise MediaError(f"{path}: frames of {context.width} x {context.height} pixels; scale the video down")
            first = next(container.decode(video=0), None)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: not a video, or a damaged one ({_cause(error)})") from None
    if first is None:
        raise MediaError(f"{path}: the video has no frames")
    return first.width, first.height


def _read_with_decord(path: Path, clip: VideoClip, count: int) -> SampledVideo:
    import decord

    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0))
        total = len(reader)
        fps = float(reader.get_avg_fps())
    except MemoryError:
        raise
    except Exception as error:  # DECORDError, RuntimeError and others, with messages of many lines
        raise MediaError(f"{path}: decord can't open it ({_cause(error)}); convert it to H.264") from None
    indices = clip_indices(total, count, clip, fps)
    wanted = sorted(set(indices))
    try:
        decoded = reader.get_batch(wanted).asnumpy()
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise MediaError(f"{path}: its frames can't be decoded ({_cause(error)}); get the file again") from None
    frames = dict(zip(wanted, decoded, strict=True))
    return SampledVideo([frames[index] for index in indices], indices, fps or None)


def _read_with_av(path: Path, clip: VideoClip, count: int) -> SampledVideo:
    """Two passes, as containers may state a wrong number of frames: one counts, one keeps the wanted ones."""
    import av

    try:
        with av.open(str(path)) as container:
            fps = float(container.streams.video[0].average_rate or 0)
        indices = clip_indices(sum(1 for _ in _decode_with_av(path)), count, clip, fps)
        wanted = set(indices)
        frames = {
            position: frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            for position, frame in enumerate(_decode_with_av(path))
            if position in wanted
        }
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: its frames can't be decoded ({_cause(error)}); get the file again") from None
    return SampledVideo([frames[index] for index in indices], indices, fps or None)


def _decode_with_av(path: Path) -> Iterator[av.VideoFrame]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from container.decode(stream)


def _cause(error: BaseException) -> str:
    """The first line of an error without decord's source positions; decord's go on with a stack trace."""
    text = (getattr(error, "strerror", None) or str(error)).strip().split("\n")[0]
    return re.sub(r"\[[\d:]+\] \S+:\d+: ", "", text)[:200] or type(error).__name__


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests, one JSON object a line, until there are no more: JSON after its length, then frames' bytes."""
    for line in requests:
        asked = json.loads(line)
        frames: list[Frame] = []
        try:
            video = decode(VideoClip(**asked["clip"]), asked["count"], asked["reader"])
            frames = list({id(frame): frame for frame in video.frames}.values())
            place = {id(frame): number for number, frame in enumerate(frames)}
            reply: dict[str, Any] = {
                "shapes": [frame.shape for frame in frames],
                "order": [place[id(frame)] for frame in video.frames],
                "indices": video.indices,
                "fps": video.fps,
            }
        except MediaError as error:
            reply = {"error": str(error)}
        text = json.dumps(reply).encode()
        replies.write(LENGTH.pack(len(text)) + text)
        for frame in frames:
            replies.write(np.ascontiguousarray(frame).data)
        replies.flush()


def _end_with_parent() -> None:
    """End at once when nobody can ask any more, in the middle of a video too."""
    gone = select.poll()
    gone.register(sys.stdin.fileno(), 0)  # only that the other end is closed
    gone.poll()
    os._exit(0)


def main() -> None:
    """Serve the process that started this one; what libraries print goes nowhere."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for handle in (1, 2):
        os.dup2(nowhere, handle)
    serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
