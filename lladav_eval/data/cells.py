"""Cells that hold media: told apart from text, and handed on undecoded."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lladav_eval.errors import MediaError

_KEYS = {"bytes", "path"}


def is_media(value: Any) -> bool:
    """Whether a cell is an image, a sound or a video (or a list of them) rather than text, numbers and the like.

    Text that stands alone isn't: nothing but its column tells a path from an answer. Whoever wants a medium there
    refuses it.
    """
    if isinstance(value, dict):
        return not _KEYS.isdisjoint(value)
    if isinstance(value, list):
        return bool(value) and any(is_media(item) for item in value)
    return isinstance(value, bytes)


def resolve_media(value: Any, root: Path, folders: Sequence[Path], where: str) -> Any:
    """A media cell as {"bytes": ...}, {"path": absolute path} or None; lists item by item. Text is a path.

    A path is looked for in ``folders``, in order; where it leads out of ``root``, through ``..``, as an absolute path
    or by a symbolic link, it is refused.

    Args:
        where: file and row, for errors.

    Raises:
        MediaError: refused path, bytes that are no base64 text (only in JSON), or what is no medium at all.
    """
    if isinstance(value, list):
        return [resolve_media(item, root, folders, where) for item in value]
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
    else:
        content, path = (value, None) if isinstance(value, bytes) else (None, value)
    if isinstance(content, str):
        try:
            content = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise MediaError(f"{where}: the bytes of an image must be base64 text") from None
    if content is not None:
        return {"bytes": content}
    return None if path is None else {"path": str(_inside(path, root, folders, where).resolve())}


def named_files(value: Any, root: Path, folders: Sequence[Path], where: str) -> Iterator[Path]:
    """The files that a media cell names, where it names them: links are not followed, but may not lead out of root.

    Raises:
        MediaError: as ``resolve_media``.
    """
    if isinstance(value, list):
        for item in value:
            yield from named_files(item, root, folders, where)
        return
    if isinstance(value, dict):
        value = value.get("path") if value.get("bytes") is None else None
    if value is not None and not isinstance(value, bytes):
        yield _inside(value, root, folders, where)


def _inside(path: Any, root: Path, folders: Sequence[Path], where: str) -> Path:
    """The file that ``path`` names, at the first place where it exists (else the first), inside ``root``."""
    text = str(path)
    parts = PurePosixPath(text.replace("\\", "/")).parts
    if not isinstance(path, str) or not parts or "\0" in text or ".." in parts or parts[0] == "/" or ":" in parts[0]:
        raise MediaError(f"{where}: the media path {text[:100]!r} is refused: it must be relative and without ..")
    candidates = [folder.joinpath(*parts) for folder in folders]
    try:
        found = next((candidate for candidate in candidates if candidate.exists()), candidates[0])
        inside = found.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError):
        raise MediaError(f"{where}: the media path {text[:100]!r} is refused: no file can have this name") from None
    if not inside:
        raise MediaError(f"{where}: the media path {text[:100]!r} is refused: it leads out of the data folder")
    return found
