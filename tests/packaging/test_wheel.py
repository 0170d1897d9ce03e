"""The wheel carries everything: installed without the repository, it runs a pocket task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it; dependencies are borrowed from this one, the repository is not."""
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    scheme = sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)})
    target = Path(scheme)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (target / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def run(installed: Path, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["HF_HUB_OFFLINE"] = "1"
    return subprocess.run(
        [str(installed / "bin" / "python"), *command], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_wheel_holds_tasks_and_the_pocket_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("lladav_eval/tasks/pocket/") and name.endswith(".yaml") for name in names)
    assert any(name.startswith("lladav_eval/tasks/pocket/data/") and name.endswith(".parquet") for name in names)
    assert "lladav_eval/pocket/checkpoints/pocket/model.safetensors" in names
    assert "lladav_eval/pocket/checkpoints/pocket-ar/model.safetensors" in names
    assert not any(name.startswith("tests/") or name.endswith(".pyc") for name in names)


def test_installed_package_is_the_wheel_not_the_repository(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "-c", "import lladav_eval; print(lladav_eval.__file__)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(installed) in done.stdout


def test_a_pocket_task_runs_without_the_repository(installed: Path, tmp_path: Path) -> None:
    command = [
        "-m",
        "lladav_eval",
        "run",
        "--task",
        "pocket_choice",
        "--limit",
        "6",
        "--out",
        str(tmp_path / "r"),
    ]
    done = run(installed, *command, "--model", "pocket", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(next((tmp_path / "r").rglob("results.json")).read_text())
    assert results["tasks"]["lladav_pocket_choice"]["n"] == 6
