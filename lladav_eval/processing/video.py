"""Videos to frames spread evenly over the clip, and frames to pixel values.

A video is a file, decoded apart from this process (decoding.py), or a folder of image files, in the order of the
numbers in their names.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from lladav_eval.errors import MediaError
from lladav_eval.media import open_image
from lladav_eval.model.config import ModelConfig
from lladav_eval.processing.decoding import Frame, SampledVideo, clip_indices
from lladav_eval.processing.tiles import squeezed_pixels
from lladav_eval.processing.video_reader import decode_apart
from lladav_eval.records import VideoClip

_FRAME_ENDINGS = (".jpg", ".jpeg", ".png")


def read_video(video: str | Path | VideoClip, count: int) -> list[Frame]:
    """``sample_video`` for models that are not told the time of a frame."""
    return sample_video(video, count).frames


def sample_video(video: str | Path | VideoClip, count: int) -> SampledVideo:
    """Decode ``count`` frames spread evenly over a video, or over its clip; a repeated frame is the same array.

    Raises:
        MediaError: if the video is missing, empty, not a video, has no frames, or its frames can't be decoded, also
            because the decoder crashes or never ends.
    """
    clip = video if isinstance(video, VideoClip) else VideoClip(video)
    path = Path(clip.path)
    if path.is_dir():
        return _read_folder(path, clip, count)
    if not path.is_file():
        raise MediaError(f"{path}: no such video file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: empty file (0 bytes); get the file again")
    return decode_apart(clip, count, "av" if importlib.util.find_spec("decord") is None else "decord")


def frames_to_pixels(frames: Sequence[Frame | Image.Image], config: ModelConfig) -> Tensor:
    """(n, 3, t, t) normalized float32 of n frames; a frame that occurs again is scaled once.

    Frames given as images are treated exactly like decoded ones. The authors' code pads them instead and then shows
    the model only the first: a defect without a published score, not reproduced (golden README, quirk 3).
    """
    unique = {id(frame): frame for frame in frames}
    images = [frame if isinstance(frame, Image.Image) else Image.fromarray(frame) for frame in unique.values()]
    place = {key: index for index, key in enumerate(unique)}
    return squeezed_pixels(images, config)[[place[id(frame)] for frame in frames]]


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
