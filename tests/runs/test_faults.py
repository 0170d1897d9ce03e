"""A disk that fails in the middle of a run: one clear error, and nothing lost once it is mended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import faults
import pytest
import toy

Played = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """What came of every fault. Root's privilege of passing over modes is taken away where that is possible."""
    folder = tmp_path_factory.mktemp("faults")
    toy.write_tasks(folder / "tasks")
    words = [sys.executable, faults.__file__, str(folder)]
    if os.geteuid() == 0 and shutil.which("setpriv"):
        words = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *words]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: json.loads((folder / name / "result.json").read_text()) for name in faults.FAULTS}


@pytest.mark.parametrize(
    ("fault", "reason", "kept"),
    [
        ("full_disk", "No space left on device", {9, 10, 13, 16}),  # the journal's last page has room for some more
        ("file_too_large", "File too large", {9}),
        ("frozen_journal", "Operation not permitted", {9}),
        ("read_only_folder", "Permission denied", {20}),
    ],
)
def test_a_disk_that_fails_in_the_middle(fault: str, reason: str, kept: set[int], played: Played) -> None:
    result = played[fault]
    if "impossible" in result:
        pytest.skip(f"this machine doesn't let a test make the fault {fault}: {result['impossible']}")
    if fault == "read_only_folder" and os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root passes over modes, and setpriv isn't here to take that privilege away")
    assert "traceback" not in result, result["traceback"]
    assert result["said_code"] == 3
    assert f"can't be written ({reason}): make room or allow writing" in result["said"]
    assert "resume with: lladav-eval run --task lladav_toy_a,lladav_toy_b" in result["said"]
    assert result["said_kept"] == result["still_kept"]
    assert result["said_kept"] in kept, "three batches were reported done, or all of them"
    assert not result["said_torn"]
    assert reason in result["still"], "asked again before it is mended: the same reason, nothing worse"
    assert result["asked"] == 20 - result["said_kept"]
    assert result["equal"], "the files are those of an unbroken run to the byte"
    assert not [name for name in result["left"] if name.endswith(".tmp") or "rejected" in name]


def test_every_fault_is_tried(played: Played) -> None:
    assert set(played) == {"full_disk", "file_too_large", "frozen_journal", "read_only_folder"}
