"""ChartQA: questions on charts, written by people and by a machine (``type``).

Source: tasks/chartqa of the authors' fork; the question is not trimmed.
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, image, text

POST_PROMPT = "\nAnswer the question with a single word."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question and how to answer."""
    return text(doc, "question") + POST_PROMPT


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The chart."""
    return [image(doc, "image")]
