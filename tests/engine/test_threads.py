"""How threads wait for each other is settled before the libraries read it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lladav_eval.engine.threads import use_threads


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP shows its settings in other words")
@pytest.mark.parametrize(
    ("asked", "rounds"),
    [({}, "4000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
    ids=str,
)
def test_a_run_waits_briefly_unless_told_otherwise(tmp_path: Path, asked: dict[str, str], rounds: str) -> None:
    command = ("run", "--task", "pocket_choice", "--model", "pocket", "--limit", "1", "--out", str(tmp_path / "run"))
    known = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-m", "lladav_eval", *command],
        env={**known, "OMP_DISPLAY_ENV": "VERBOSE", **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{rounds}'" in done.stderr


def test_workers_wait_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that what is set is undone
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    use_threads(3)
    assert (os.environ["GOMP_SPINCOUNT"], os.environ["OMP_NUM_THREADS"]) == ("4000", "3")
