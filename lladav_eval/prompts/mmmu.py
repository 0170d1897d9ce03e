"""MMMU: college-level questions with up to seven images, which the text names ``<image 1>`` to ``<image 7>``.

Source: tasks/mmmu/utils.py of the authors' fork, with ``interleaved_format: false``: the names stay in the text as
they are, and the images come first, one placeholder each, sorted by name.
"""

from __future__ import annotations

import re

from PIL import Image

from lladav_eval.errors import MediaError
from lladav_eval.prompts.rows import Row, Settings, image, lettered, options, text, where

MULTIPLE_CHOICE = "Answer with the option's letter from the given choices directly."
OPEN = "Answer the question using a single word or phrase."

_NAMED_IMAGE = re.compile(r"<image \d+>")


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, its lettered options if it has any, and how to answer."""
    if text(doc, "question_type") == "multiple-choice":
        return with_options(doc, MULTIPLE_CHOICE)
    return f"{text(doc, 'question')}\n\n{OPEN}"


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The images that the text names, each once."""
    return named_images(doc, doc_to_text(doc))


def with_options(doc: Row, post_prompt: str) -> str:
    """Question, options and what to answer; MMMU-Pro has the same form."""
    return f"{text(doc, 'question')}\n{lettered(options(doc, 'options'))}\n\n{post_prompt}"


def named_images(doc: Row, prompt: str) -> list[Image.Image]:
    """The images that a prompt names, sorted by name (as text, like the authors). None named: a text-only question."""
    columns = sorted({name.strip("<>").replace(" ", "_") for name in _NAMED_IMAGE.findall(prompt)})
    absent = [column for column in columns if column not in doc]
    if absent:
        raise MediaError(f"{where(doc)}: the text names {absent[0]}, which is no column of the row")
    return [image(doc, column) for column in columns]
