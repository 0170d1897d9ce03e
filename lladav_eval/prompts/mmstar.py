"""MMStar: 1,500 questions that need their image; the options are part of the question.

Source: tasks/mmstar of the authors' fork. Their closing sentence has no period here.
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, image, text

POST_PROMPT = "\nAnswer with the option's letter from the given choices directly"


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, trimmed, without MME's request for yes or no, and how to answer."""
    return text(doc, "question").strip().replace(" Please answer yes or no.", "") + POST_PROMPT


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The image."""
    return [image(doc, "image")]
