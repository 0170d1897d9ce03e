"""Where the videos of MVBench, MLVU and Video-MME lie, and a check of that before a run.

Folders are searched in this order: ``<data folder>/<dataset_path>`` (what ``lladav-eval data`` fetches, and what
``--data`` names), then ``$HF_HOME/<cache_dir>``, where lmms-eval 0.7.3 unpacks them. A family's module says under which
names a row's video may lie inside such a folder; nothing is searched recursively.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lladav_eval.errors import EnvironmentError_, MediaError, TaskError
from lladav_eval.prompts.rows import Row, Settings, text, where
from lladav_eval.records import VideoClip

CONTAINERS = (".mp4", ".MP4", ".mkv", ".webm", ".avi", ".mov")
"""Endings under which the same video is found; mirrors of the data sets have repacked them."""

LONGEST_NAME = 250
"""In bytes; file systems end at 255, and an ending may be added."""

Locate = Callable[[Row, Settings], str | VideoClip]
"""A family's function from a row to its video; raises MediaError where it is missing."""


@dataclass(frozen=True)
class VideoStore:
    """The folders that may hold the videos of one data set."""

    dataset: str
    """``dataset_path`` of the task."""
    cache_dir: str
    """``dataset_kwargs.cache_dir`` of the task: lmms-eval's folder below $HF_HOME."""

    def roots(self) -> tuple[Path, ...]:
        """The folders, in the order they are searched; they need not exist."""
        from lladav_eval.data.source import default_data_dir

        hf_home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
        return default_data_dir() / self.dataset, hf_home / self.cache_dir

    def find(self, doc: Row, names: Sequence[str]) -> tuple[Path, str]:
        """The first of ``names`` (POSIX, relative) that exists in a root: its path, and which name it was.

        Raises MediaError, naming what was looked for and where.
        """
        roots = self.roots()
        for root in roots:
            for name in names:
                path = root / name
                if path.exists():
                    return path, name
        looked = " and ".join(str(root) for root in roots)
        raise MediaError(f"{where(doc)}: the video {names[0]} is missing (looked in {looked})")


def file_name(doc: Row, column: str) -> str:
    """The name of a row's video. Raises TaskError if it could lead out of its folder."""
    name = text(doc, column)
    parts = PurePosixPath(name.replace("\\", "/")).parts
    odd = "\0" in name or len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME
    if odd or not parts or ".." in parts or parts[0] == "/" or ":" in parts[0]:
        raise TaskError(f"{where(doc)}: {column} {name[:60]!r} is no plain file name")
    return name


def any_container(name: str) -> list[str]:
    """The name itself, then with the other endings of ``CONTAINERS`` (added to a name that has none of them)."""
    path = PurePosixPath(name)
    stem = str(path.with_suffix("")) if path.suffix.lower() in CONTAINERS else name
    return list(dict.fromkeys([name, *(stem + ending for ending in CONTAINERS)]))


def seconds(doc: Row, column: str) -> float | None:
    """A time of the row; None where the column is absent or empty. Raises TaskError if it is no time."""
    value = doc.get(column)
    if value is None or value != value or value == "":  # NaN is a table's empty cell
        return None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise TaskError(f"{where(doc)}: {column} must be a time in seconds, found {value!r}")
    return float(value)


def bounds(doc: Row) -> tuple[float | None, float | None]:
    """``start`` and ``end`` of the row's clip in seconds. Raises TaskError if the end comes before the start."""
    start, end = seconds(doc, "start"), seconds(doc, "end")
    if end is not None and end < (start or 0.0):
        raise TaskError(f"{where(doc)}: the clip ends at {end} s, before it starts at {start} s")
    return start, end


def check_layout(task: str, rows: Iterable[Row], locate: Locate, settings: Settings = None, named: int = 3) -> int:
    """Look for the video of every row before a run; nothing is decoded.

    Args:
        task: what to call the task in the error.
        locate: ``locate`` of the family's module, such as ``lladav_eval.prompts.mvbench.locate``.
        settings: ``lmms_eval_specific_kwargs`` of the task.
        named: how many of the missing videos the error names.

    Returns:
        The number of rows.

    Raises:
        EnvironmentError_: if videos are missing: how many rows lack theirs, and which come first.
        TaskError: if a row doesn't say which video is its own.
    """
    total = 0
    missing: list[str] = []
    for doc in rows:
        total += 1
        try:
            locate(doc, settings)
        except MediaError as error:
            missing.append(str(error))
        except TaskError as error:
            raise TaskError(f"{task}: {error}") from None
    if missing:
        first = "; ".join(dict.fromkeys(missing[:named]))
        raise EnvironmentError_(
            f"{task}: the videos of {len(missing)} of {total} rows are missing, first: {first}. "
            f"Fetch them with `lladav-eval data fetch --task {task.removeprefix('lladav_')}`, or put them there"
        )
    return total


def specific(settings: Settings, name: str) -> Any:
    """An entry of ``lmms_eval_specific_kwargs``; its ``default`` block counts where lmms-eval hasn't merged it yet."""
    for block in (settings or {}, (settings or {}).get("default") or {}):
        if name in block:
            return block[name]
    raise TaskError(f"the task's YAML must give {name} in lmms_eval_specific_kwargs.default")


def number(doc: Row, column: str, default: float) -> float:
    """A positive number of the row, or the default where it is absent or empty."""
    value = seconds(doc, column) if column in doc else None
    return value or default
