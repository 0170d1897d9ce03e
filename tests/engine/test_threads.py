"""How threads wait for each other is settled before the libraries read it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lladav_eval.engine.threads import use_threads


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP shows its settings in other words")
@pytest.mark.parametrize(("asked", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_run_waits_passively_unless_told_otherwise(tmp_path: Path, asked: str | None, policy: str) -> None:
    command = ("run", "--task", "pocket_choice", "--model", "pocket", "--limit", "1", "--out", str(tmp_path / "run"))
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    variables |= {"OMP_DISPLAY_ENV": "TRUE"} | ({} if asked is None else {"OMP_WAIT_POLICY": asked})
    done = subprocess.run(
        [sys.executable, "-m", "lladav_eval", *command], env=variables, capture_output=True, text=True, check=True
    )
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr


def test_workers_wait_passively(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that what is set is undone
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    use_threads(3)
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OMP_NUM_THREADS"]) == ("PASSIVE", "3")
