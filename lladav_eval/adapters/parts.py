"""A request as what every chat interface takes: typed parts in order, and opened media."""

from __future__ import annotations

from typing import Any

import numpy as np

from lladav_eval.errors import MediaError, SampleError
from lladav_eval.media import open_image
from lladav_eval.processing.decoding import SampledVideo, frame_indices
from lladav_eval.processing.prompt import PLACEHOLDER, media_of_placeholders
from lladav_eval.processing.video import sample_video
from lladav_eval.records import Request


def media_of(request: Request, video_path: bool) -> tuple[list[Any], SampledVideo | None]:
    """RGB images, or the video's frames: as a video if the model takes one (``video_path``), else as images.

    Raises:
        MediaError: if a medium can't be read.
        SampleError: if there are images and a video.
    """
    if request.images and request.video is not None:
        raise SampleError("the request has images and a video: ask about one kind of media at a time")
    if request.video is None:
        names = [f"image {number} of {len(request.images)}" for number in range(1, len(request.images) + 1)]
        return [open_image(image, name).convert("RGB") for image, name in zip(request.images, names, strict=True)], None
    video = _frames(request)
    if video_path:
        return [], video
    from PIL import Image

    return [Image.fromarray(frame) for frame in video.frames], None


def content_of(request: Request, images: int, video: bool) -> tuple[list[dict[str, str]], list[int]]:
    """The user's turn as typed parts, and which image each image part shows.

    Placeholders in the text say where media go, by the same rule as for LLaDA-V; without any, media come first.
    Frames shown as images stand together where the video's placeholder is.

    Args:
        request: the question.
        images: how many images ``media_of`` gave.
        video: whether it gave a video.

    Raises:
        SampleError: if placeholders and media don't fit.
    """
    media = int(request.video is not None) or images
    pieces = request.text.split(PLACEHOLDER)
    if len(pieces) == 1:
        pieces = [*[""] * media, pieces[0]]
    shown = media_of_placeholders(len(pieces) - 1, media)
    if video and len(shown) > 1:
        raise SampleError(f"the text has {len(shown)} {PLACEHOLDER} placeholders for one video: write one, or none")
    parts: list[dict[str, str]] = []
    order: list[int] = []
    for piece, index in zip(pieces, [*shown, None], strict=True):
        if piece.strip():
            parts.append({"type": "text", "text": piece})
        if index is None:
            continue
        if video:
            parts.append({"type": "video"})
            continue
        frames = list(range(images)) if request.video is not None else [index]
        parts += [{"type": "image"} for _ in frames]
        order += frames
    return parts, order


def _frames(request: Request) -> SampledVideo:
    video = request.video
    assert video is not None
    if not isinstance(video, tuple):
        return sample_video(video, request.num_frames)
    if not video:
        raise MediaError("the video has no frames: the list of its frames is empty")
    indices = frame_indices(len(video), request.num_frames)
    opened = {index: np.asarray(open_image(video[index], "video frame").convert("RGB")) for index in set(indices)}
    if len({frame.shape for frame in opened.values()}) > 1:
        raise MediaError("the frames of the video differ in size: scale them to one")
    return SampledVideo([opened[index] for index in indices], indices, None)
