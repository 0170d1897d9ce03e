"""The lock file of a data folder: which revision of each split is there, and the checksums of its files.

lladav-eval.lock.json:
{"version": 1,
 "splits": {"lmms-lab-encoder/ChartQA:test": {
    "revision": "<commit of the hub, or local:<digest>>",
    "tables":   [{"path": "<relative to the data folder>", "size": 123, "hash": "sha256:..."}],
    "media":    [...]}}}
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lladav_eval.errors import EnvironmentError_, UsageError

LOCK_NAME = "lladav-eval.lock.json"
_VERSION = 1


@dataclass(frozen=True)
class PinnedFile:
    """A file as it was when it was pinned."""

    path: str
    """POSIX, relative to the data folder."""
    size: int
    """Bytes."""
    hash: str
    """"sha256:<hex>", or "git:<hex>" for the small files that the hub keeps in git itself."""


@dataclass(frozen=True)
class Entry:
    """One pinned split."""

    revision: str
    """Commit on the hub, or "local:<digest of the text columns>" for files that came from elsewhere."""
    tables: tuple[PinnedFile, ...]
    media: tuple[PinnedFile, ...] = ()
    """Media files outside the tables: videos, or zip archives of them."""


def read_lock(root: Path) -> dict[str, Entry]:
    """What the folder's lock file pins, by the name of the split; empty if there is none. Raises UsageError."""
    path = root / LOCK_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the lock file {path} can't be read ({error}): restore it, or delete it to pin anew"
        ) from None
    try:
        if content["version"] != _VERSION:
            raise UsageError(f"the lock file {path} has version {content['version']}; this program knows {_VERSION}")
        return {name: _entry(value) for name, value in content["splits"].items()}
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise UsageError(f"the lock file {path} is damaged: restore it, or delete it to pin anew") from None


def update_lock(root: Path, changes: dict[str, Entry | None]) -> None:
    """Set entries (None removes one) and keep the others, whoever else writes at the same time."""
    path = root / LOCK_NAME
    temporary = path.with_name(f".{LOCK_NAME}.{os.getpid()}.tmp")
    try:
        with _held(root):
            entries: dict[str, Entry | None] = {**read_lock(root), **changes}
            splits = {name: asdict(entry) for name, entry in sorted(entries.items()) if entry is not None}
            with temporary.open("w", encoding="utf-8") as file:
                json.dump({"version": _VERSION, "splits": splits}, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EnvironmentError_(f"{path} can't be written ({error.strerror}): make room or allow writing") from error


def missing_files(root: Path, entry: Entry) -> list[str]:
    """Why the tables of an entry aren't usable, one reason a file; sizes are compared, contents not."""
    reasons = []
    for file in entry.tables:
        path = root / file.path
        if not path.is_file():
            reasons.append(f"{path} is missing")
        elif path.stat().st_size != file.size:
            reasons.append(f"{path} has {path.stat().st_size} bytes instead of {file.size}")
    return reasons


def wrong_files(root: Path, entry: Entry) -> list[str]:
    """Files of an entry that are missing or have another checksum, one reason a file; reads all of them."""
    reasons = []
    for file in (*entry.tables, *entry.media):
        path = root / file.path
        if not path.is_file():
            reasons.append(f"{path} is missing")
        elif path.stat().st_size != file.size or file_hash(path, file.hash) != file.hash:
            reasons.append(f"{path} is not the pinned file: its checksum differs")
    return reasons


def file_hash(path: Path, like: str = "sha256:") -> str:
    """Checksum of a file, of the kind that ``like`` starts with."""
    if like.startswith("git:"):  # how git names a blob
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return f"{like.split(':')[0]}:{digest.hexdigest()}"


def pin(root: Path, path: Path) -> PinnedFile:
    """A file of the folder as it is now."""
    return PinnedFile(path.relative_to(root).as_posix(), path.stat().st_size, file_hash(path))


def _entry(value: dict[str, Any]) -> Entry:
    revision = value["revision"]
    if not isinstance(revision, str) or not value["tables"]:
        raise ValueError
    return Entry(revision, _files(value["tables"]), _files(value.get("media", [])))


def _files(values: list[dict[str, Any]]) -> tuple[PinnedFile, ...]:
    files = tuple(PinnedFile(str(value["path"]), int(value["size"]), str(value["hash"])) for value in values)
    for file in files:  # a lock file may come with a folder from elsewhere
        if Path(file.path).is_absolute() or ".." in Path(file.path).parts:
            raise ValueError
    return files


@contextlib.contextmanager
def _held(root: Path) -> Iterator[None]:
    """Keep other processes from changing the lock file; the hold goes with the process, however it ends."""
    import fcntl

    handle = os.open(root / f".{LOCK_NAME}.held", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
