"""RealWorldQA: photographs, mostly from cars; options and how to answer are part of the question.

Source: tasks/realworldqa of the authors' fork, whose prefix and suffix are empty.
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, image, text


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, trimmed."""
    return text(doc, "question").strip()


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The photograph."""
    return [image(doc, "image")]
