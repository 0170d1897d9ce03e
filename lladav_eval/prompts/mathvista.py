"""MathVista (testmini): mathematics in pictures; an option, a number or a list is wanted.

Source: tasks/mathvista of the authors' fork (``create_one_query`` of mathvista_evals.py), ``shot_type: reason-first``
without shots, captions or OCR. Both the order (the hint last) and the closing sentence are the authors' own.
"""

from __future__ import annotations

import contextlib

from PIL import Image

from lladav_eval.errors import TaskError
from lladav_eval.prompts.rows import Row, Settings, cell, image, lettered, options, text, where

_CHOICE = (
    "First perform reasoning, then finally select the question from the choices in the following format: Answer: xxx."
)
_VALUE = (
    "First perform reasoning, then finally answer the question requiring {} and provide the final {}, e.g., {}, "
    "at the end in the following format: Answer: xxx."
)
_CLOSING = "If it is hard to determine, give the closest answer."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """Question with its unit, choices if there are any, what kind of answer is wanted, and the closing sentence."""
    question = f"Question: {text(doc, 'question')}"
    if doc.get("unit"):
        question += f" (Unit: {doc['unit']})"
    parts = [question]
    if cell(doc, "choices"):
        parts.append("Choices:\n" + lettered(options(doc, "choices"), "({}) {}"))
    return "\n".join([*parts, _hint(doc), _CLOSING]).strip()


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[Image.Image]:
    """The image; the column ``image`` holds only its file name."""
    return [image(doc, "decoded_image")]


def _hint(doc: Row) -> str:
    """What kind of answer is wanted. Raises TaskError for a kind that the authors' rules don't have."""
    question_type, answer_type = text(doc, "question_type"), text(doc, "answer_type")
    precision = doc.get("precision")
    if isinstance(precision, str):
        with contextlib.suppress(ValueError):
            precision = float(precision)
    if question_type == "multi_choice" and answer_type == "text":
        return _CHOICE
    if question_type != "multi_choice" and answer_type == "integer":
        return _VALUE.format("an integer answer", "value", "1, 2, 3")
    if question_type != "multi_choice" and answer_type == "float" and precision == 1:
        return _VALUE.format("a floating-point number with one decimal place", "value", "1.2, 1.3, 1.4")
    if question_type != "multi_choice" and answer_type == "float" and precision == 2:
        return _VALUE.format("a floating-point number with two decimal places", "value", "1.23, 1.34, 1.45")
    if question_type != "multi_choice" and answer_type == "list":
        return _VALUE.format("a Python list as an answer", "list", "[1, 2, 3], [1.2, 1.3, 1.4]")
    raise TaskError(
        f"{where(doc)}: no prompt for question_type {question_type!r} with answer_type {answer_type!r} "
        f"and precision {precision!r}"
    )
