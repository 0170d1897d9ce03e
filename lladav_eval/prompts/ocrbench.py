"""OCRBench: reading text in images, ten kinds of it; how to answer is part of the question.

Source: tasks/ocrbench of lmms-eval 0.7.3; the authors' script doesn't run it.
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, image, text


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, trimmed."""
    return text(doc, "question").strip()


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The image."""
    return [image(doc, "image")]
