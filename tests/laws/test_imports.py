"""The import law of docs/architecture.md: which room may import which, and what must stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "lladav_eval"

# Room -> what it may import of ours besides itself. A file's own name can narrow the room's rule.
LAW: dict[str, set[str]] = {
    "records": {"errors", "approximate"},
    "approximate": {"errors"},
    "errors": set(),
    "media": {"errors"},
    "background": set(),
    "interrupts": set(),
    "settings": {"records", "errors", "approximate", "media"},
    "recorded": {"errors"},
    "model": {"records", "errors"},
    "sampling": {"records", "errors", "approximate"},
    "scoring": {"records", "errors"},
    "prompts": {"records", "errors", "scoring.rows", "media", "data.source"},
    "data": {"records", "errors"},
    "batching": {"records", "errors"},
    "processing": {"records", "errors", "media", "model.config"},
    "continuous": {"records", "errors", "batching", "model", "sampling"},
    "preparing": {"records", "errors", "background", "model", "processing", "sampling"},
    "pipeline": {
        "records",
        "errors",
        "background",
        "batching",
        "continuous",
        "preparing",
        "model",
        "sampling",
        "processing",
    },
    "loading": {"errors", "pipeline", "model", "processing"},
    "adapters": {
        "records",
        "errors",
        "background",
        "batching",
        "media",
        "settings",
        "pipeline",
        "loading",
        "recorded",
        "sampling.likelihood",
        "processing",
        "model",
    },
    "runs": {
        "records",
        "errors",
        "approximate",
        "background",
        "interrupts",
        "recorded",
        "settings",
        "scoring",
        "data",
        "prompts",
        "engine",
    },
    "planning": {"records", "errors", "settings", "model", "processing", "sampling", "runs.questions", "runs.tasks"},
    "engine": {"records", "errors"},
    "reports": {"records", "errors", "approximate", "scoring.aggregate", "scoring.cost", "scoring.lmms", "runs.store"},
}
UNBOUND = {"cli", "pocket", "__init__", "__main__"}
"""The command line may import anything; the pocket builds and describes a whole checkpoint."""

HEAVY = {"torch", "transformers", "lmms_eval", "datasets", "pandas", "pyarrow", "matplotlib", "ray"}
WITHOUT: dict[str, set[str]] = {
    "records": HEAVY,
    "errors": HEAVY,
    "media": HEAVY,
    "approximate": HEAVY,
    "reports": {"torch", "transformers"},
    "scoring": HEAVY,
}


def imported_names(path: Path, include_type_checking: bool = True) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if not include_type_checking:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
                skipped |= {id(child) for child in ast.walk(node)}
    names = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "checkpoints" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_the_law_allows(path: Path) -> None:
    room = room_of(path)
    if room in UNBOUND:
        return
    assert room in LAW, f"{room} is a new room: give it a rule here and a line in docs/architecture.md"
    for name in imported_names(path):
        if not name.startswith("lladav_eval."):
            continue
        inner = name.removeprefix("lladav_eval.")
        allowed = LAW[room] | {room}
        assert any(inner == rule or inner.startswith(rule + ".") for rule in allowed), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_light_rooms_import_nothing_heavy(path: Path) -> None:
    heavy = WITHOUT.get(room_of(path), set())
    found = {name.split(".")[0] for name in imported_names(path, include_type_checking=False)} & heavy
    assert not found, f"{path.name} imports {found}"


def test_the_law_is_not_vacuous() -> None:
    rooms = {room_of(path) for path in files()}
    assert {"model", "sampling", "processing", "runs", "adapters"} <= rooms


@pytest.mark.parametrize("module", ["lladav_eval", "lladav_eval.cli.main", "lladav_eval.adapters.manifest"])
def test_importing_the_surface_loads_no_heavy_package(module: str) -> None:
    code = f"import {module}, sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_loading_and_answering_starts_no_compiler() -> None:
    """torch._dynamo takes longer to import than the embedded model to answer; transformers isn't needed at all."""
    code = (
        "import sys, lladav_eval as l; m = l.load('pocket', device='cpu'); "
        "a = m.generate([l.Request('List each digit')], l.SamplingParams(2, 2, 2))[0]; "
        "print(a.status, sorted({'torch._dynamo', 'torch._inductor', 'transformers', 'lmms_eval', 'datasets', 'scipy'} "
        "& set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "ok []"


def test_listing_tasks_needs_none_of_the_libraries() -> None:
    code = "from lladav_eval.runs.tasks import list_tasks; import sys; list_tasks(); "
    code += f"print(sorted(({HEAVY!r} | {{'numpy', 'PIL', 'scipy'}}) & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
