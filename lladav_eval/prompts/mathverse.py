"""MathVerse (testmini): geometry and functions; the tasks here are the vision-centred versions of each problem.

Source: tasks/mathverse of the authors' fork, ``shot_type: format-prompt``, ``query_type: query_cot``: the data set's
own request to reason first.
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, cell, image, text


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The data set's own prompt that asks for reasoning, trimmed."""
    return text(doc, "query_cot").strip()


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The image; none where the cell is blank text, as in the text-only version."""
    value = cell(doc, "image")
    if isinstance(value, str) and not value.strip():
        return []
    return [image(doc, "image")]
