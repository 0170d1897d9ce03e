"""AI2D: science diagrams with lettered options; ``answer`` is the right one's position.

Source: tasks/ai2d of the authors' fork, ``prompt_format: mcq``.
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.errors import TaskError
from lladav_eval.prompts.rows import Row, Settings, image, letter, lettered, options, text, where

POST_PROMPT = "\nAnswer with the option's letter from the given choices directly."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, its lettered options, and how to answer."""
    return f"{text(doc, 'question')}\n{lettered(options(doc, 'options'))}{POST_PROMPT}"


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The diagram."""
    return [image(doc, "image")]


def doc_to_target(doc: Row) -> str:
    """The letter of the right option."""
    position = text(doc, "answer").strip()
    if not (position.isascii() and position.isdigit()):
        raise TaskError(f"{where(doc)}: answer must be the position of an option, found {position[:40]!r}")
    return letter(doc, int(position), len(options(doc, "options")))
