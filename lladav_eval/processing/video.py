"""Videos to frames spread evenly over the clip.

Source: ``load_video`` in the authors' llava_onevision_llada.py. Frames are read by decord, which the recorded results
used; where decord is not installed (it has no wheels for some machines), PyAV reads the same frames more slowly.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lladav_eval.errors import MediaError, SettingError
from lladav_eval.model.config import ModelConfig
from lladav_eval.processing.tiles import squeezed_pixels

if TYPE_CHECKING:
    import av

Frame = NDArray[np.uint8]
"""(height, width, 3) RGB."""


def frame_indices(total: int, count: int) -> list[int]:
    """``count`` indices from the first to the last of ``total`` frames; short clips repeat frames."""
    if count < 1:
        raise SettingError(f"number of frames={count}: must be at least 1")
    return [int(index) for index in np.linspace(0, total - 1, count, dtype=int)]


def read_video(path: str | Path, count: int) -> list[Frame]:
    """Decode ``count`` frames spread evenly over a video file; a repeated frame is the same array.

    Raises:
        MediaError: if the file is missing, empty, not a video, has no frames, or its frames can't be decoded.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError(f"{path}: no such video file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: empty file (0 bytes); get the file again")
    _require_a_frame(path)
    if importlib.util.find_spec("decord") is None:
        return _read_with_av(path, count)
    return _read_with_decord(path, count)


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


def _read_with_decord(path: Path, count: int) -> list[Frame]:
    import decord

    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0))
        total = len(reader)
    except MemoryError:
        raise
    except Exception as error:  # DECORDError, RuntimeError and others, with messages of many lines
        raise MediaError(f"{path}: decord can't open it ({_cause(error)}); convert it to H.264") from None
    if total < 1:
        raise MediaError(f"{path}: the video has no frames")
    indices = frame_indices(total, count)
    wanted = sorted(set(indices))
    try:
        decoded = reader.get_batch(wanted).asnumpy()
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise MediaError(f"{path}: its frames can't be decoded ({_cause(error)}); get the file again") from None
    frames = dict(zip(wanted, decoded, strict=True))
    return [frames[index] for index in indices]


def _read_with_av(path: Path, count: int) -> list[Frame]:
    """Two passes, as containers may state a wrong number of frames: one counts, one keeps the wanted ones."""
    import av

    try:
        indices = frame_indices(sum(1 for _ in _decode_with_av(path)), count)
        wanted = set(indices)
        frames = {
            position: frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            for position, frame in enumerate(_decode_with_av(path))
            if position in wanted
        }
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: its frames can't be decoded ({_cause(error)}); get the file again") from None
    return [frames[index] for index in indices]


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
