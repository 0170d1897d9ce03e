"""Reading a row's cells: text, lists of options and images, each with an error that names the row.

A row is a mapping from columns to cells, as lmms-eval and the data room give it. What is wrong with the table itself
(a missing column, options that don't parse) is a TaskError; what is wrong with one picture is a MediaError.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from lladav_eval.errors import MediaError, TaskError
from lladav_eval.media import open_image
from lladav_eval.scoring.rows import LETTERS, list_of, text_of

T = TypeVar("T")
Row = Mapping[str, Any]
Settings = Mapping[str, Any] | None
"""``lmms_eval_specific_kwargs`` of the YAML, where a task has them."""

_ID_COLUMNS = ("id", "index", "question_id", "questionId", "pid", "sample_index", "idx", "video", "video_name")


def where(doc: Row) -> str:
    """How to call a row in an error: by the column that identifies it, else by the start of its question."""
    for column in _ID_COLUMNS:
        if doc.get(column) not in (None, ""):
            return f"row with {column} {doc[column]!r:.80}"
    return f"row with question {str(doc.get('question'))[:40]!r}"


def cell(doc: Row, column: str) -> Any:
    """A cell as it is. Raises TaskError if the column is missing."""
    try:
        return doc[column]
    except KeyError:
        found = ", ".join(map(str, doc)) or "none"
        raise TaskError(f"{where(doc)}: the column {column!r} is missing; the row has {found}") from None


def text(doc: Row, column: str) -> str:
    """A cell of text; numbers are written out. Raises TaskError for anything else."""
    return _named(text_of, doc, column)


def options(doc: Row, column: str) -> list[str]:
    """A list of options: a list, or the text of a Python list as in MMMU, which is parsed as a literal and never run.

    Raises TaskError if it is no list or has more options than there are letters.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of "\m" and the like inside formulas
        found = _named(list_of, doc, column)
    if len(found) > len(LETTERS):
        raise TaskError(f"{where(doc)}: {column} has {len(found)} options, more than there are letters")
    return found


def _named(read: Callable[[Row, str], T], doc: Row, column: str) -> T:
    """What ``read`` gives; its errors get the name of the row."""
    try:
        return read(doc, column)
    except TaskError as error:
        raise TaskError(f"{where(doc)}: {error}") from None


def with_letters(choices: Iterable[Any], form: str = "{}. {}") -> list[str]:
    """Each option behind its letter."""
    return [form.format(LETTERS[position], choice) for position, choice in enumerate(choices)]


def lettered(choices: Iterable[Any], form: str = "{}. {}") -> str:
    """Options one a line, each behind its letter."""
    return "\n".join(with_letters(choices, form))


def letter(doc: Row, index: int, count: int) -> str:
    """The letter of an option by its 0-based position. Raises TaskError if there is none."""
    if not 0 <= index < count:
        raise TaskError(f"{where(doc)}: the answer {index} lies outside the {count} options")
    return LETTERS[index]


def image(doc: Row, column: str) -> Image.Image:
    """A cell's picture in RGB, as the authors' evaluation converts every one. Raises MediaError, TaskError."""
    return _rgb(cell(doc, column), f"{column} of the {where(doc)}")


def images(doc: Row, column: str) -> list[Image.Image]:
    """The pictures of a list cell, or the one picture of a plain cell, in RGB. Raises MediaError, TaskError."""
    value = cell(doc, column)
    if isinstance(value, list | tuple):
        return [_rgb(item, f"{column} {n} of the {where(doc)}") for n, item in enumerate(value, start=1)]
    return [_rgb(value, f"{column} of the {where(doc)}")]


def video(doc: Row, column: str) -> str:
    """The path of a cell's video, a file or a folder of frames. Raises MediaError, TaskError."""
    value = cell(doc, column)
    path = value.get("path") if isinstance(value, Mapping) else None
    if not isinstance(path, str):
        raise MediaError(f'{column} of the {where(doc)}: no video; name one of the data folder as {{"path": ...}}')
    return path


def _rgb(value: Any, name: str) -> Image.Image:
    """Image cells are PIL images, {"bytes": ..., "path": ...} undecoded, or None.

    Text alone would name any file of this machine: only paths in a mapping have been held inside the data folder.
    """
    if isinstance(value, str):
        fix = 'name a file of the data folder as {"path": ...}, or give its content as {"bytes": base64 text}'
        raise MediaError(f"{name}: found the text {value[:60]!r}; {fix}")
    source = value
    if isinstance(value, Mapping) and ("bytes" in value or "path" in value):
        content = value.get("bytes")
        source = value.get("path") if content is None else content if isinstance(content, bytes) else value
    if source is None:
        raise MediaError(f"{name}: there is no image in the row")
    if not isinstance(source, bytes | str | Path | Image.Image):
        raise MediaError(f"{name}: expected an image, found {type(value).__name__}")
    if isinstance(source, str | Path):
        name = f"{name} ({Path(source).name})"
    return open_image(source, name).convert("RGB")
