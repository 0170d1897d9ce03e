"""A request through a transformers processor: chat messages rendered by its template, media as tensors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lladav_eval.adapters.hf_modes import NO_MODES, Modes, template_of
from lladav_eval.adapters.parts import content_of, media_of
from lladav_eval.errors import SampleError, one_line
from lladav_eval.processing.decoding import SampledVideo
from lladav_eval.records import Request

UNKNOWN_FPS = 2.0
"""Frames per second told to processors that write times into the prompt, where the frames came without any."""


@dataclass(frozen=True)
class Asked:
    """A request made ready for a processor."""

    request: Request
    text: str = ""
    """The prompt as the processor's chat template renders it."""
    images: tuple[Any, ...] = ()
    """RGB images, in the order of the prompt."""
    video: SampledVideo | None = None
    media_seconds: float = 0.0
    error: str | None = None
    """Why the request can't be asked; everything else is empty then."""

    @property
    def kind(self) -> tuple[int, bool]:
        """Requests of one kind share a batch: processors don't mix different numbers of media reliably."""
        return len(self.images), self.video is not None


def has_video_path(processor: Any) -> bool:
    """Whether the processor and its template take videos as such; frames become images otherwise."""
    return getattr(processor, "video_processor", None) is not None and "video" in template_of(processor)


def ask(request: Request, processor: Any, modes: Modes = NO_MODES, *, takes_video: bool = True) -> Asked:
    """Open the media and render the prompt; a request for which that fails carries the reason.

    ``takes_video``: whether the model has a video path, should its processor have one.
    """
    started = time.perf_counter()
    try:
        images, video = media_of(request, takes_video and has_video_path(processor))
        shown = time.perf_counter() - started
        content, order = content_of(request, len(images), video is not None)
        text = _render(modes.messages(content, request.mode), processor, modes.variables(request.mode))
        return Asked(request, text, tuple(images[index] for index in order), video, shown)
    except SampleError as error:
        return Asked(request, error=str(error))


def _render(messages: list[dict[str, Any]], processor: Any, variables: dict[str, bool]) -> str:
    """The prompt's text."""
    try:
        return str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **variables))
    except Exception as error:  # templates raise what they like
        raise SampleError(f"the model's chat template rejects the question: {one_line(error)}") from error


def tensors(batch: Sequence[Asked], processor: Any) -> Any:
    """The processor's output for requests of one kind, padded on the left.

    Raises:
        SampleError: if the processor rejects one of them (an image too narrow for it, special tokens in the text).
    """
    begin = processor.tokenizer.bos_token
    arguments: dict[str, Any] = {
        "text": [asked.text for asked in batch],
        "padding": True,
        "return_tensors": "pt",
        # A template that writes the begin-of-text token itself must not get a second one from the tokenizer.
        "add_special_tokens": not (begin and batch[0].text.startswith(begin)),
    }
    if batch[0].images:
        arguments["images"] = [list(asked.images) for asked in batch]
    if batch[0].video is not None:
        videos = [asked.video for asked in batch if asked.video is not None]
        arguments["videos"] = [[np.stack(video.frames)] for video in videos]
        arguments["video_metadata"] = [[_metadata(video)] for video in videos]
        arguments["do_sample_frames"] = False
    try:
        return processor(**arguments)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise SampleError(f"the model's processor rejects the question: {one_line(error)}") from error


def _metadata(video: SampledVideo) -> Any:
    from transformers.video_utils import VideoMetadata

    height, width = video.frames[0].shape[:2]
    return VideoMetadata(
        total_num_frames=max(video.indices) + 1,
        fps=video.fps or UNKNOWN_FPS,
        width=width,
        height=height,
        duration=(max(video.indices) + 1) / (video.fps or UNKNOWN_FPS),
        frames_indices=list(video.indices),
    )
