"""DocVQA (validation): questions on scanned pages.

Source: tasks/docvqa of the authors' fork. Their prompt is not lmms-eval's: it asks for the reason first and the answer
behind "Answer:".
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, image, text

POST_PROMPT = (
    "\nGive the reason and then write your final answer in the format 'Answer: X' "
    "where X is the answer to the question."
)


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question and how to answer."""
    return text(doc, "question") + POST_PROMPT


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The page."""
    return [image(doc, "image")]
