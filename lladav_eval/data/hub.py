"""The hub: which files hold a split, how large they are at which revision, and getting them.

Only the files of the asked split are fetched, never the whole repository. Downloads resume (huggingface_hub keeps the
parts), and every new file is compared with the checksum that the hub states.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from lladav_eval.data.layout import Split, choose_files
from lladav_eval.data.lock import file_hash
from lladav_eval.errors import EnvironmentError_, EvalError, TaskError, one_line

TIMEOUT = 10.0
"""Seconds to wait for the hub's answer about a data set."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub."""

    path: str
    """POSIX, relative to the repository."""
    size: int
    """Bytes."""
    hash: str
    """"sha256:<hex>" of large files, "git:<hex>" of the others."""


@dataclass(frozen=True)
class Selection:
    """The files of one split at one revision."""

    split: Split
    revision: str
    """The commit."""
    tables: tuple[RemoteFile, ...]
    """Files of rows, in row order."""
    media: tuple[RemoteFile, ...] = ()
    """Media files outside the tables, if asked for: videos, or zip archives of them."""

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All of them."""
        return self.tables + self.media

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)


class Hub:
    """A hub of data sets; ``endpoint`` is its address, by default $HF_ENDPOINT or huggingface_hub's own."""

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = endpoint or os.environ.get("HF_ENDPOINT", "").rstrip("/") or None

    def select(self, split: Split, revision: str | None = None, media: Sequence[str] = ()) -> Selection:
        """Ask the hub once.

        Args:
            revision: a branch or commit, by default the main branch.
            media: patterns (``*`` also matches ``/``) of further files that the task needs, such as "*.zip".

        Raises:
            TaskError: no such data set, revision, configuration or split.
            EnvironmentError_: the hub can't be reached, or wants a login.
        """
        with _errors_of(split):
            from huggingface_hub import HfApi

            api = HfApi(endpoint=self.endpoint)
            info = api.dataset_info(split.dataset, revision=revision, files_metadata=True, timeout=TIMEOUT)
        files = {file.path: file for file in map(_remote, info.siblings or ())}
        outside = next((path for path in files if not _is_inside(path)), None)
        if outside is not None:
            raise TaskError(
                f"{split.dataset}: the hub names a file outside of the data set, {outside!r:.80}: don't use it"
            )
        card = info.card_data
        configs = card.get("configs") if card is not None else None
        tables = choose_files(list(files), split, configs or ())
        further = [path for path in sorted(files) if any(fnmatchcase(path, pattern) for pattern in media)]
        if not info.sha:
            raise EnvironmentError_(f"the hub states no revision of {split.dataset}: try again later")
        return Selection(split, info.sha, tuple(files[path] for path in tables), tuple(files[path] for path in further))

    def download(
        self,
        selection: Selection,
        files: Sequence[RemoteFile],
        root: Path,
        report: Callable[[RemoteFile], None] | None = None,
    ) -> None:
        """Get files of a selection into root/<dataset_path>/, resuming what was begun; ``report`` is told of each.

        A file that is there already and right stays; one that is there and wrong is replaced.

        Raises:
            EnvironmentError_: the hub can't be reached, the disk is full, or a file isn't what the hub said.
        """
        folder = root / selection.split.dataset
        require_room(root, sum(file.size for file in files))
        for file in files:
            if report is not None:
                report(file)
            path = folder / file.path
            if _is_right(path, file):
                continue
            path.unlink(missing_ok=True)  # without the hub, huggingface_hub would make do with it
            with _errors_of(selection.split):
                from huggingface_hub import hf_hub_download

                hf_hub_download(
                    selection.split.dataset, file.path, repo_type="dataset", revision=selection.revision,
                    local_dir=folder, endpoint=self.endpoint,
                )  # fmt: skip
            if not _is_right(path, file):
                path.unlink(missing_ok=True)
                raise EnvironmentError_(f"{path} arrived damaged and was removed: run the command again")


def _is_inside(path: str) -> bool:
    """Whether a hub's name for a file stays in the data set's folder."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and "\0" not in path


def _is_right(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and file_hash(path, file.hash) == file.hash


def require_room(root: Path, size: int) -> None:
    """Raises EnvironmentError_ if the disk lacks room for ``size`` bytes, or the folder can't be made."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise EnvironmentError_(f"the data folder {root} can't be made ({error.strerror}): choose another") from error
    if size > free:
        raise EnvironmentError_(f"{size / 1e9:.1f} GB are needed in {root}, {free / 1e9:.1f} GB are free: make room")


def _remote(sibling: Any) -> RemoteFile:
    lfs = sibling.lfs
    digest = None if lfs is None else (lfs.get("sha256") if isinstance(lfs, dict) else lfs.sha256)
    return RemoteFile(
        sibling.rfilename, int(sibling.size or 0), f"sha256:{digest}" if digest else f"git:{sibling.blob_id}"
    )


@contextmanager
def _errors_of(split: Split) -> Iterator[None]:
    """Turn what huggingface_hub and its HTTP library raise into our errors."""
    from huggingface_hub import errors

    try:
        yield
    except EvalError:
        raise
    except errors.GatedRepoError as error:
        raise EnvironmentError_(
            f"{split.dataset} wants a login: accept its terms on the hub, then `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise TaskError(f"the hub has no data set {split.dataset} (or it is private: `hf auth login`)") from error
    except errors.RevisionNotFoundError as error:
        raise TaskError(f"the data set {split.dataset} has no such revision on the hub") from error
    except errors.EntryNotFoundError as error:
        raise unreachable(split, one_line(error)) from error
    except Exception as error:  # each release of huggingface_hub has its own HTTP library with its own errors
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EnvironmentError_(f"the disk is full while fetching {split.name}: make room, then go on") from error
        if isinstance(error, PermissionError):
            raise EnvironmentError_(f"{error.filename} can't be written ({error.strerror}): allow it") from error
        raise unreachable(split, one_line(error)) from error


def unreachable(split: Split, reason: str) -> EnvironmentError_:
    """The error for a hub that doesn't answer as it should."""
    return EnvironmentError_(
        f"the hub can't give {split.name} ({reason}): check the network and try again; `run` and `score` also take "
        "local files with --data DIR, or with --offline what was fetched before"
    )
