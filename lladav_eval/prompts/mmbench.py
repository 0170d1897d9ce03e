"""MMBench (en dev): lettered options A to E, some of them absent, with a hint in front where there is one.

Source: tasks/mmbench (en_utils.py, ``create_options_prompt`` of mmbench_evals.py) of the authors' fork. The published
table has each question once per roll of its options; rolls are rows of their own, told by ``index`` modulo 1,000,000.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

from lladav_eval.prompts.rows import Row, Settings, image, text

POST_PROMPT = "\nAnswer with the option's letter from the given choices directly."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """Hint, question, options, and how to answer. An empty hint still leaves its space, as with the authors."""
    lines = [f"{key}. {doc[key]}\n" for key in "ABCDE" if doc.get(key) and _given(doc[key])]
    asked = f"{text(doc, 'question')} There are several options:\n{''.join(lines)}".rstrip("\n")
    hint = doc.get("hint")
    if _given(hint):
        asked = f"{hint} {asked}"
    return f"{asked}\n{POST_PROMPT}"


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The image."""
    return [image(doc, "image")]


def _given(value: Any) -> bool:
    """False for None, NaN and the text "nan", which the tables have where a cell is empty."""
    return value is not None and value == value and value != "nan"
