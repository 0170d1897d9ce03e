"""MuirBench: questions on several images, with lettered options.

Source: tasks/muirbench of the authors' fork. Question and options may hold ``<image>`` where an image belongs; the
authors' adapter then adds neither placeholders nor a think suffix (processing/prompt.py does the same).
"""

from __future__ import annotations

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, images, lettered, options, text

POST_PROMPT = "\nAnswer with the option's letter from the given choices directly."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question, its lettered options, and how to answer."""
    return f"{text(doc, 'question')}\n{lettered(options(doc, 'options'))}{POST_PROMPT}"


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The images in order."""
    return images(doc, "image_list")
