"""A request to the prompt the model reads: text, token ids with placeholders, and pixels.

Source: ``generate_until`` in the authors' llava_onevision_llada.py, which made the published scores.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from lladav_eval.errors import MediaError, SampleError
from lladav_eval.media import open_image
from lladav_eval.model.config import ModelConfig
from lladav_eval.processing.chat import SYSTEM_MESSAGE, ChatTokenizer
from lladav_eval.processing.decoding import Frame, frame_indices
from lladav_eval.processing.tiles import anyres_pixels, pad_pixels
from lladav_eval.processing.video import frames_to_pixels, read_video
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Prompt, Request, VideoClip

PLACEHOLDER = "<image>"


def prepare(request: Request, tokenizer: ChatTokenizer, config: ModelConfig) -> Prompt:
    """Everything the model needs to answer ``request``.

    One image is tiled at any resolution if the checkpoint was trained so, several are padded to squares, a video is
    ``request.num_frames`` frames under a single placeholder.

    Raises:
        MediaError: if an image or the video can't be read.
        SampleError: if placeholders written in the text don't fit the media.
    """
    text, token_ids = prompt_tokens(request, tokenizer, config)
    media = len(request.images) or int(request.video is not None)
    shown = media_of_placeholders(token_ids.count(IMAGE_PLACEHOLDER_ID), media)
    if request.video is not None:
        frames = frames_to_pixels(_video_frames(request.video, request.num_frames), config)
        return Prompt(text, tuple(token_ids), tuple(frames for _ in shown), layout="video")
    if not request.images:
        return Prompt(text, tuple(token_ids))
    images = [open_image(image, name) for name, image in _named("image", request.images)]
    tiled = len(images) == 1 and config.max_tiles > 0
    to_pixels = anyres_pixels if tiled else pad_pixels
    pixels = {index: to_pixels(images[index], config) for index in sorted(set(shown))}
    return Prompt(
        text,
        tuple(token_ids),
        tuple(pixels[index] for index in shown),
        tuple(images[index].size for index in shown),
        "anyres" if tiled else "pad",
    )


def prompt_tokens(request: Request, tokenizer: ChatTokenizer, config: ModelConfig) -> tuple[str, list[int]]:
    """The rendered prompt and its ids, one placeholder a medium; no medium is opened.

    Raises:
        SampleError: if the request has media of two kinds, or of a kind that the checkpoint can't see.
    """
    if request.images and request.video is not None:
        raise SampleError("the request has images and a video: ask about one kind of media at a time")
    media = len(request.images) or int(request.video is not None)
    # Text-only LLaDA is asked without a system message (generate.py in the LLaDA repository).
    if config.text_only and media:
        raise SampleError("the checkpoint is a text-only LLaDA: it can't see images or videos")
    system = None if config.text_only else SYSTEM_MESSAGE
    text = render_conversation(_question(request, media), tokenizer, system)
    return text, tokenize_with_placeholders(text, tokenizer)


def stop_strings(request: Request, stop: str | Sequence[str], tokenizer: ChatTokenizer) -> tuple[str, ...]:
    """The strings that end the answer: those of the task, and the end of the turn if the request has media.

    Text-only requests get no end of turn, as in the authors' evaluation (golden README, quirk 9).
    """
    strings = (stop,) if isinstance(stop, str) else tuple(stop)
    if (request.images or request.video is not None) and tokenizer.eot_token not in strings:
        strings += (tokenizer.eot_token,)
    return strings


def render_conversation(question: str, tokenizer: ChatTokenizer, system: str | None = SYSTEM_MESSAGE) -> str:
    """The rendered prompt: system message, the question as the user's turn, and the header of the answer."""
    messages = [{"role": "system", "content": system}] if system else []
    # Empty turns are left out, as in the authors' conversation.py.
    messages += [{"role": role, "content": text} for role, text in _turns(question) if text]
    return tokenizer.render(messages)


def tokenize_with_placeholders(text: str, tokenizer: ChatTokenizer) -> list[int]:
    """Token ids of a rendered prompt, each ``<image>`` being one ``IMAGE_PLACEHOLDER_ID``.

    Quirk 1, which the published scores depend on (``tokenizer_image_token`` in the authors' mm_utils.py): the text
    between placeholders is tokenized piece by piece, and as the prompt begins with the begin-of-text token, which that
    function expects in front of every piece, it cuts the first token off each later piece. So the newline that the
    evaluation puts after the last ``<image>``, the space between two of them, or a word, never reaches the model.
    """
    first, *others = [tokenizer.encode(piece) for piece in text.split(PLACEHOLDER)]
    cut = 1 if first[:1] == [tokenizer.bos_id] else 0
    ids = first
    for piece in others:
        ids = [*ids, IMAGE_PLACEHOLDER_ID, *piece[cut:]]
    return ids


def _question(request: Request, media: int) -> str:
    """Placeholders in front and the thinking mode behind, unless the text has placeholders of its own (quirk 5)."""
    if not media or PLACEHOLDER in request.text:
        return request.text
    suffix = f" /{request.mode}" if request.mode else ""
    return " ".join([PLACEHOLDER] * media) + "\n" + request.text + suffix


def _turns(question: str) -> Iterator[tuple[str, str]]:
    """(role, text) of the question: usually one user turn.

    A JSON list of an odd number of ``{"value": text}`` objects is a conversation that user and assistant take turns in,
    as in the authors' adapter. All other JSON ("42", "[1]") is plain text; theirs breaks on it (quirk 10).
    """
    items = []
    if question.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            items = json.loads(question)
    if len(items) % 2 == 1 and all(isinstance(item, dict) and isinstance(item.get("value"), str) for item in items):
        for index, item in enumerate(items):
            yield ("user", "assistant")[index % 2], item["value"]
    else:
        yield "user", question


def media_of_placeholders(placeholders: int, media: int) -> list[int]:
    """Which medium each placeholder shows, if the text's own placeholders are more or fewer than the media.

    As in the authors' llava_arch.py (``prepare_inputs_labels_for_multimodal``): media without a placeholder are not
    shown, and one placeholder too many shows the last medium again. Their code breaks on two too many.
    """
    if placeholders > media + 1 or (placeholders and not media):
        raise SampleError(
            f"the text has {placeholders} {PLACEHOLDER} placeholders for {media} images or videos; "
            "write one for each, or none to have them put first"
        )
    return [min(index, media - 1) for index in range(placeholders)]


def _video_frames(
    video: str | Path | VideoClip | tuple[Image.Image, ...], count: int
) -> list[Image.Image] | list[Frame]:
    if isinstance(video, str | Path | VideoClip):
        return read_video(video, count)
    if not video:
        raise MediaError("the video has no frames: the list of its frames is empty")
    indices = frame_indices(len(video), count)
    named = dict(enumerate(_named("video frame", video)))
    opened = {index: open_image(named[index][1], named[index][0]) for index in sorted(set(indices))}
    return [opened[index] for index in indices]


def _named(kind: str, images: Sequence[Image.Image]) -> Iterator[tuple[str, Image.Image]]:
    for number, image in enumerate(images, start=1):
        yield f"{kind} {number} of {len(images)}", image
