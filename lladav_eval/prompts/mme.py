"""MME: pairs of yes/no questions on one image.

Source: tasks/mme of the authors' fork: the benchmark's own request for yes or no gives way to a general one.
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, image, text

YES_OR_NO = " Please answer yes or no."
POST_PROMPT = "\nAnswer the question using a single word or phrase."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, trimmed, without its request for yes or no, and how to answer."""
    return text(doc, "question").strip().replace(YES_OR_NO, "") + POST_PROMPT


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The image."""
    return [image(doc, "image")]
