"""MMMU-Pro: ten options instead of four (standard), or question and options only in a screenshot (vision).

Source: tasks/mmmu_pro of the authors' fork (utils.py, mmmu_pro_vision.yaml). Here it is "option letter", in MMMU
"option's letter".
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.mmmu import named_images, with_options
from lladav_eval.prompts.rows import Row, Settings, image

POST_PROMPT = "Answer with the option letter from the given choices directly."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question and its lettered options (standard)."""
    return with_options(doc, POST_PROMPT)


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The images that question and options name (standard)."""
    return named_images(doc, doc_to_text(doc))


def vision_doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """How to answer; the question is in the picture (vision)."""
    return POST_PROMPT


def vision_doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The screenshot (vision)."""
    return [image(doc, "image")]
