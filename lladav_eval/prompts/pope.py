"""POPE: is there such an object in the image? In three ways of choosing absent objects (``category``).

Source: tasks/pope of lmms-eval 0.7.3; the authors' script doesn't run it.
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, image, text

POST_PROMPT = "\nAnswer the question using a single word or phrase."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, trimmed, and how to answer."""
    return text(doc, "question").strip() + POST_PROMPT


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The photograph."""
    return [image(doc, "image")]
