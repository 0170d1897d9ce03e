"""Documents stay true: files they name exist, commands they show parse."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`((?:lladav_eval|tests|tasks|benchmarks|docs|results)/[\w./-]*)`")
WRITTEN = ("results/runs", "results/comparison", "results/sweeps")
"""What commands write."""
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_named_file_exists(document: str) -> None:
    named = set(NAMED.findall((ROOT / document).read_text(encoding="utf-8")))
    missing = sorted(name for name in named if not (ROOT / name).exists() and not name.startswith(WRITTEN))
    assert not missing, f"{document} names files that are gone: {missing}"


def test_the_architecture_page_names_files_at_all() -> None:
    assert len(NAMED.findall((ROOT / "docs/architecture.md").read_text(encoding="utf-8"))) > 20


def test_the_number_of_benchmarks_is_said() -> None:
    folders = {path.name for path in (ROOT / "tasks").iterdir() if path.is_dir()} - {"pocket", "groups"}
    for document in ("README.md", "CHANGELOG.md"):
        assert f"{len(folders)} benchmarks" in (ROOT / document).read_text(encoding="utf-8")


def test_every_variable_of_ours_is_told() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "lladav_eval").rglob("*.py"))
    text = "".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    ours = set(re.findall('"(LLADAV_EVAL_[A-Z_]+)"', source)) - {"LLADAV_EVAL_DEBUG"}  # --debug, for processes below
    assert "LLADAV_EVAL_DATA" in ours
    assert not [name for name in ours if f"`{name}`" not in text]


def test_every_room_has_a_line_in_the_architecture_page() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for room in (ROOT / "lladav_eval").iterdir():
        if room.is_dir() and (room / "__init__.py").exists():
            assert f"`lladav_eval/{room.name}/`" in text, f"docs/architecture.md says nothing of {room.name}"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_passes_an_empty_task_on_as_one() -> None:
    """As of a variable that a pipeline never set; ``--task --model M`` would make the model's option the task."""
    command = ("make", "-n", "-o", ".venv/installed", "eval", "TASK=", "MODEL=-m", "LIMIT=-1")
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "run --task= --model=-m --limit=-1" in said
