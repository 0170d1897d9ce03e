"""Unpacking archives of media: resumable, and nothing is written outside the folder."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lladav_eval.errors import EnvironmentError_, UsageError

MAX_RATIO = 20
"""Media hardly compress: an archive that unpacks to more than this many times its size is refused."""
SMALL = 64 << 20
"""Bytes that any archive may unpack to."""
MAX_MEMBERS = 1_000_000
PART = ".lladav_eval-part"
"""End of a member's name while it is written; no archive may have such a member, as one would replace the other."""


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a zip archive into ``folder``; files already there with the right content stay. Returns how many were new.

    All members are checked before the first is written; each one appears under its name only when it is complete.

    Raises:
        UsageError: not a zip file or a damaged one, or a member that is refused: a link, an absolute path, one with
            "..", an encrypted one; or an archive that is a bomb.
        EnvironmentError_: not enough disk space.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = [(info, _target(info, archive, folder)) for info in file.infolist() if not info.is_dir()]
            _refuse_bombs(archive, [info for info, _ in members])
            todo = [(info, path) for info, path in members if not _is_there(path, info)]
            _require_room(folder, sum(info.file_size for info, _ in todo))
            for info, path in todo:
                _write(file, info, path, archive, folder)
            return len(todo)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # without a number it is bz2's, of damaged data
            raise EnvironmentError_(f"{archive} can't be unpacked ({error.strerror}); see to it, then go on") from error
        raise UsageError(f"{archive} is not a zip file that can be read ({error}); get it again") from error


def _target(info: zipfile.ZipInfo, archive: Path, folder: Path) -> Path:
    """Where a member goes. Raises UsageError if it may not."""
    name = info.filename
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(info.external_attr >> 16)
    reason = None
    if (
        not parts
        or name.startswith("/")
        or ".." in parts
        or "\\" in name
        or ":" in parts[0]
        or "\0" in info.orig_filename
    ):
        reason = "its path leaves the folder"
    elif kind not in (0, stat.S_IFREG):
        reason = "it is a link or a special file"
    elif info.flag_bits & 1:
        reason = "it is encrypted"
    elif name.endswith(PART):
        reason = f"names that end with {PART} are those of unfinished files"
    if reason:
        raise UsageError(f"{archive}: the member {name[:100]!r} is refused: {reason}; nothing was unpacked")
    return folder.joinpath(*parts)


def _refuse_bombs(archive: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    size = archive.stat().st_size
    total = sum(info.file_size for info in infos)
    packed = sum(info.compress_size for info in infos)
    if total > max(SMALL, MAX_RATIO * size) or packed > size or len(infos) > MAX_MEMBERS:
        raise UsageError(
            f"{archive} is refused: {len(infos)} members of {total:,} bytes out of an archive of {size:,} bytes "
            "look like a zip bomb; nothing was unpacked"
        )


def _is_there(path: Path, info: zipfile.ZipInfo) -> bool:
    """A newer release's file may be as long as the one before: the checksum tells."""
    if not path.is_file() or path.is_symlink() or path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == info.CRC


def _require_room(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise EnvironmentError_(f"{size / 1e9:.1f} GB are needed in {folder}, {free / 1e9:.1f} GB are free: make room")


def _write(file: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, archive: Path, folder: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(folder.resolve()):  # a link that lay there before
        raise UsageError(f"{archive}: {path.parent} leads out of {folder}: remove the link, then unpack again")
    part = path.with_name(path.name + PART)
    part.unlink(missing_ok=True)
    with file.open(info) as source, part.open("xb") as target:  # zipfile checks length and CRC
        shutil.copyfileobj(source, target, 1 << 20)
    os.replace(part, path)
