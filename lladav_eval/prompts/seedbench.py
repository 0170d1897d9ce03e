"""SEED-Bench: four lettered options on an image, or on the frames of a video (``data_type``).

Source: tasks/seedbench of the authors' fork. A video is a list of frames in the data set, and the authors show it as
several images (padded, one placeholder each), not as a video.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

from lladav_eval.errors import TaskError
from lladav_eval.prompts.rows import Row, Settings, images, lettered, text

POST_PROMPT = "Answer with the option's letter from the given choices directly."
CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, its four lettered options, and how to answer."""
    choices = lettered(text(doc, column) for column in CHOICES)
    return f"{text(doc, 'question')}\n{choices}\n{POST_PROMPT}"


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The image, or the frames in order."""
    return images(doc, "image")


def only_image(rows: Any) -> Any:
    """``process_docs``: the rows on an image, of a ``datasets.Dataset``."""
    return _only(rows, "image")


def only_video(rows: Any) -> Any:
    """``process_docs``: the rows on a video, of a ``datasets.Dataset``."""
    return _only(rows, "video")


def _only(rows: Any, kind: str) -> Any:
    if "data_type" not in rows.column_names:
        raise TaskError(f"SEED-Bench: the column 'data_type' is missing (found: {', '.join(rows.column_names)})")
    # Reading the one column leaves the pictures alone.
    return rows.select([index for index, value in enumerate(rows["data_type"]) if value == kind])
