"""The lock file: writers at the same time, and checksums of both kinds."""

from __future__ import annotations

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lladav_eval.data.lock import (
    LOCK_NAME,
    Entry,
    PinnedFile,
    file_hash,
    missing_files,
    read_lock,
    update_lock,
    wrong_files,
)


def entry(revision: str) -> Entry:
    return Entry(revision, (PinnedFile("a/test.parquet", 3, "sha256:x"),))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: update_lock(tmp_path, {f"set{index}:test": entry(str(index))}), range(40)))
    assert read_lock(tmp_path) == {f"set{index}:test": entry(str(index)) for index in range(40)}
    update_lock(tmp_path, {"set3:test": None})
    assert len(read_lock(tmp_path)) == 39
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))
    assert (tmp_path / LOCK_NAME).read_text().endswith("\n")


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    path.parent.mkdir()
    path.write_bytes(b"content")
    assert file_hash(path) == "sha256:" + hashlib.sha256(b"content").hexdigest()
    git = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True).stdout.strip()
    assert file_hash(path, "git:") == f"git:{git}"
    good = Entry("r", (PinnedFile("a/file", 7, f"git:{git}"),))
    assert wrong_files(tmp_path, good) == missing_files(tmp_path, good) == []
    path.write_bytes(b"CONTENT")
    assert missing_files(tmp_path, good) == []
    assert wrong_files(tmp_path, good) == [f"{path} is not the pinned file: its checksum differs"]
    path.unlink()
    assert wrong_files(tmp_path, good) == missing_files(tmp_path, good) == [f"{path} is missing"]
