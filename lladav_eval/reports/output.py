"""Writing report files, with one clear line where that is impossible."""

from __future__ import annotations

from pathlib import Path

from lladav_eval.errors import UsageError
from lladav_eval.runs.store import RunDirectory


def write_report(path: Path, text: str) -> None:
    """Replace a file as a whole, making its folder where needed. Raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}): choose another place") from error
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give a file name")
    RunDirectory(path.parent).write_text(path, text)


def append_report(path: Path, text: str) -> None:
    """Add to a file that others write to as well. Raises UsageError."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}): choose another place") from error
