"""The ready workflows in docs/ci: their shell steps run here, with a finished run in place of an evaluation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from reports.synthetic import Sheet, write_run

DOCS = Path(__file__).resolve().parents[2] / "docs" / "ci"
GOOD = [1.0] * 60 + [0.0] * 40
STAND_IN = """#!/usr/bin/env bash
# `run` hands over a finished run; everything else is the real program.
if [ "$1" = run ]; then
  while [ "$1" != --out ]; do shift; done
  mkdir -p "$(dirname "$2")" && cp -r "$FINISHED" "$2"
  exit "$CODE"
fi
exec "$PYTHON" -c 'from lladav_eval.cli.main import main; main()' "$@"
"""


def github() -> tuple[dict[str, str], list[str]]:
    workflow: dict[Any, Any] = yaml.safe_load((DOCS / "github.yml").read_text())
    steps = workflow["jobs"]["regression"]["steps"]
    assert workflow["permissions"] == {"contents": "read"}
    return workflow["env"], [step["run"] for step in steps if "run" in step]


def gitlab() -> tuple[dict[str, str], list[str]]:
    job = yaml.safe_load((DOCS / "gitlab.yml").read_text())["regression"]
    assert job["artifacts"]["reports"]["junit"] == "reports/regress.xml"
    return job["variables"], ["\n".join(("set -e", *job["before_script"], *job["script"]))]


def run_steps(
    tmp_path: Path, system: str, candidate: list[float], code: int = 0, status: str = "complete"
) -> tuple[list[int], str]:
    """Exit codes of the steps (GitHub's run on after a failure, as theirs say) and what they printed."""
    variables, scripts = {"github": github, "gitlab": gitlab}[system]()
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "lladav-eval").write_text(STAND_IN)
    (tools / "lladav-eval").chmod(0o755)
    # Installing is the one step that can't be done here: it needs the network.
    (tools / "python").write_text('#!/bin/sh\n[ "$*" = "-m pip install --constraint constraints.txt ." ]\n')
    (tools / "python").chmod(0o755)
    write_run(tmp_path / variables["BASELINE"], {"a": Sheet(GOOD)})
    finished = write_run(tmp_path / "finished", {"a": Sheet(candidate)}, status=status)
    environment = {
        **os.environ, **variables, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": sys.executable,
        "FINISHED": str(finished), "CODE": str(code), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }  # fmt: skip
    done = [
        subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        for script in scripts
    ]
    return [process.returncode for process in done], "".join(process.stdout + process.stderr for process in done)


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_a_worse_run_fails_the_job(tmp_path: Path, system: str) -> None:
    codes, shown = run_steps(tmp_path, system, [0.0] * 20 + GOOD[20:])
    assert codes == ([0, 0, 1] if system == "github" else [1]), shown
    assert ("::error title=a%3A worse::" in shown) == (system == "github")
    assert "<failure" in (tmp_path / "reports" / "regress.xml").read_text()
    assert "**worse**" in (tmp_path / "reports" / "regress.md").read_text()
    if system == "github":
        assert "**worse**" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_the_same_run_passes_and_failed_samples_still_fail_the_job(tmp_path: Path, system: str) -> None:
    codes, shown = run_steps(tmp_path, system, GOOD, code=1)
    assert codes == ([0, 1, 0] if system == "github" else [1]), shown
    assert "verdict: same" in shown


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_a_run_that_did_not_finish_leaves_a_report(tmp_path: Path, system: str) -> None:
    codes, shown = run_steps(tmp_path, system, GOOD, code=1, status="too many failures")
    assert codes == ([0, 1, 2] if system == "github" else [2]), shown
    assert ("::error title=not comparable::" in shown) == (system == "github")
    assert "is not finished (too many failures)" in (tmp_path / "reports" / "regress.xml").read_text()
    assert "is not finished" in (tmp_path / "reports" / "regress.md").read_text()
