"""Videos to frames spread evenly over the clip.

Source: ``load_video`` in the authors' llava_onevision_llada.py. Frames are read by decord, which the recorded results
used; where decord is not installed (it has no wheels for some machines), PyAV reads the same frames more slowly.
A video may also be a folder of image files, in the order of the numbers in their names.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lladav_eval.errors import MediaError, SettingError
from lladav_eval.media import open_image
from lladav_eval.model.config import ModelConfig
from lladav_eval.processing.tiles import squeezed_pixels
from lladav_eval.records import VideoClip

if TYPE_CHECKING:
    import av

Frame = NDArray[np.uint8]
"""(height, width, 3) RGB."""

_FRAME_ENDINGS = (".jpg", ".jpeg", ".png")


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


def read_video(video: str | Path | VideoClip, count: int) -> list[Frame]:
    """``sample_video`` for models that are not told the time of a frame."""
    return sample_video(video, count).frames


def sample_video(video: str | Path | VideoClip, count: int) -> SampledVideo:
    """Decode ``count`` frames spread evenly over a video, or over its clip; a repeated frame is the same array.

    Raises:
        MediaError: if the video is missing, empty, not a video, has no frames, or its frames can't be decoded.
    """
    clip = video if isinstance(video, VideoClip) else VideoClip(video)
    path = Path(clip.path)
    if path.is_dir():
        return _read_folder(path, clip, count)
    if not path.is_file():
        raise MediaError(f"{path}: no such video file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: empty file (0 bytes); get the file again")
    _require_a_frame(path)
    if importlib.util.find_spec("decord") is None:
        return _read_with_av(path, clip, count)
    return _read_with_decord(path, clip, count)


def frames_to_pixels(frames: Sequence[Frame | Image.Image], config: ModelConfig) -> Tensor:
    """(n, 3, t, t) normalized float32 of n frames; a frame that occurs again is scaled once.

    Frames given as images are treated exactly like decoded ones. The authors' code pads them instead and then shows
    the model only the first: a defect without a published score, not reproduced (golden README, quirk 3).
    """
    unique = {id(frame): frame for frame in frames}
    images = [frame if isinstance(frame, Image.Image) else Image.fromarray(frame) for frame in unique.values()]
    place = {key: index for index, key in enumerate(unique)}
    return squeezed_pixels(images, config)[[place[id(frame)] for frame in frames]]


def _require_a_frame(path: Path) -> None:
    """Refuse what is no video by decoding its first frame; decord would print pages of its own about such files."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path}: the file has no video stream")
            first = next(container.decode(video=0), None)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: not a video, or a damaged one ({_cause(error)})") from None
    if first is None:
        raise MediaError(f"{path}: the video has no frames")


def _read_folder(path: Path, clip: VideoClip, count: int) -> SampledVideo:
    """Frames of a folder in the order of their numbers: directories have no order of their own."""
    files = sorted((file for file in path.iterdir() if file.suffix.lower() in _FRAME_ENDINGS), key=_numbers_first)
    if not files:
        raise MediaError(f"{path}: the folder has no frames ({', '.join(_FRAME_ENDINGS)})")
    indices = clip_indices(len(files), count, clip, clip.fps or 0.0, number_from=1)
    frames = {index: np.asarray(open_image(files[index]).convert("RGB")) for index in sorted(set(indices))}
    return SampledVideo([frames[index] for index in indices], indices, clip.fps)


def _numbers_first(file: Path) -> tuple[tuple[int, str], ...]:
    """Sorts 2.jpg before 10.jpg."""
    parts = re.findall(r"\d+|\D+", file.name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


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
    if total < 1:
        raise MediaError(f"{path}: the video has no frames")
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
