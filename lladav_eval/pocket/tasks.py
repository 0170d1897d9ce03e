"""What the YAML of tasks/pocket calls: rows to questions and media, answers to scores, scores to one accuracy.

Every function is pure. An answer that is empty or can't be read counts as wrong; nothing is left out or guessed.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from PIL import Image

from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.exact import exact_match
from lladav_eval.scoring.relaxed import relaxed_match
from lladav_eval.scoring.yes_no import extract_yes_no

Row = dict[str, Any]


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: dict[str, Any] | None = None) -> str:
    """The question as the model reads it; the row holds it whole."""
    return str(doc["question"])


def doc_to_images(doc: Row, lmms_eval_specific_kwargs: dict[str, Any] | None = None) -> list[Image.Image]:
    """The pictures of a row, in order."""
    return [_open(picture) for picture in doc["images"]]


def _open(picture: Any) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    return Image.open(io.BytesIO(picture["bytes"])).convert("RGB")


def doc_to_video(doc: Row, lmms_eval_specific_kwargs: dict[str, Any] | None = None) -> list[str]:
    """The video file of a row, beside the task's parquet file."""
    return [str(data_directory() / doc["video"])]


def data_directory() -> Path:
    """tasks/pocket/data: inside the package once installed, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for root in (package, package.parent):
        directory = root / "tasks" / "pocket" / "data"
        if directory.is_dir():
            return directory
    raise FileNotFoundError(f"tasks/pocket/data is neither in {package} nor beside it; reinstall lladav_eval")


def process_exact(doc: Row, results: list[str]) -> dict[str, Any]:
    """The answer must be the target (digits, counts, images, video)."""
    return _scored(doc, exact_match(results[0], doc["answer"]))


def process_choice(doc: Row, results: list[str]) -> dict[str, Any]:
    """The letter must be the right one; the content of exactly one option counts as its letter."""
    options = dict(re.findall(r"^([A-H])\. (.+)$", doc["question"], re.MULTILINE))
    return _scored(doc, extract_choice(results[0], options) == doc["answer"])


def process_yes_no(doc: Row, results: list[str]) -> dict[str, Any]:
    """Yes or no must be the right one."""
    return _scored(doc, extract_yes_no(results[0]) == doc["answer"].lower())


def process_relaxed(doc: Row, results: list[str]) -> dict[str, Any]:
    """Within 5 % of the target, as in ChartQA."""
    return _scored(doc, relaxed_match(results[0], doc["answer"]))


def _scored(doc: Row, right: bool) -> dict[str, Any]:
    return {"accuracy": {"id": doc["id"], "score": float(right)}}


def aggregate_accuracy(results: list[dict[str, Any]]) -> float:
    """Mean score on a scale of 0 to 100; empty input is an error, not a zero."""
    if not results:
        raise ValueError("no results to aggregate")
    return 100.0 * sum(float(result["score"]) for result in results) / len(results)
