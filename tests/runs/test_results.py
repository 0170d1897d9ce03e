"""What stands beside a task's figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import toy

from lladav_eval.records import RunSpec
from lladav_eval.runs import tasks as tasks_module
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory


@dataclass
class OfKind(toy.ToyModel):
    """A model that says of which kind it is."""

    kind: str = "diffusion"

    def description(self) -> dict[str, Any]:
        return {"kind": self.kind}


@pytest.mark.parametrize(
    ("kind", "settings", "changed"),
    [
        ("diffusion", {"gen_length": 4, "block_length": 2, "steps": 2}, {"steps", "mode"}),
        ("autoregressive", {"gen_length": 4}, {"mode"}),
    ],
)
def test_settings_are_told_that_the_model_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, settings: dict[str, int], changed: set[str]
) -> None:
    folder = toy.write_tasks(tmp_path / "tasks")
    tasks_module._list_tasks.cache_clear()
    monkeypatch.setattr(tasks_module, "tasks_dir", lambda: folder)
    spec = RunSpec(tasks=("lladav_toy_a",), model="toy", limit=2)
    for number, gen in enumerate(((), (("steps", "2"), ("think_mode", "think")))):
        run = RunDirectory(tmp_path / str(number))
        task = execute(replace(spec, gen=gen), lambda: OfKind(kind=kind), run).results["tasks"]["lladav_toy_a"]
        assert set(task["changed"]) == (changed if gen else set())
        assert (task["rows"], task["n"]) == (10, 2)
    assert task["settings"] == settings
