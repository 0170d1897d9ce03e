"""An old answer is used again exactly where nothing changed that could change it: one case for each kind of change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
from tiny_checkpoint import write_checkpoint

from lladav_eval.adapters.models import resolve_model
from lladav_eval.records import RunSpec
from lladav_eval.runs import keys
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory

SPEC = RunSpec(tasks=("lladav_toy_a",), model="toy", batch_size=3)
ROWS = 6


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=ROWS), monkeypatch)


def asked(run: Path, spec: RunSpec = SPEC) -> list[int]:
    """The rows that a session of the run asks."""
    model = toy.ToyModel()
    execute(spec, lambda: model, RunDirectory(run))
    return [doc_id for _, doc_id in model.asked]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def other_picture(tasks: Path) -> None:
    """New bytes in one row's picture; name and place stay."""
    path = tasks / "lladav_toy_a.parquet"
    table = pq.read_table(path)
    cells = table["image"].to_pylist()
    cells[2] = {"bytes": toy.png("red"), "path": None}
    column = table.schema.get_field_index("image")
    field = table.schema.field(column)
    pq.write_table(table.set_column(column, field, pa.array(cells, field.type)), path)


def cut_in_prompt_code(tasks: Path) -> None:
    """The prompt's text stays; its code shows another part of the picture."""
    edit(tasks / "toy_functions.py", '.convert("RGB")', '.convert("RGB").crop((0, 0, 8, 8))')


CHANGES: dict[str, Callable[[Path], None]] = {
    "the prompt's text": lambda tasks: edit(tasks / "toy_functions.py", "which colour", "what colour"),
    "the prompt's media": cut_in_prompt_code,
    "a setting of the task": lambda tasks: edit(tasks / "lladav_toy_a.yaml", "steps: 4", "steps: 2"),
    "the think mode of the task": lambda tasks: edit(tasks / "lladav_toy_a.yaml", "no_think", "think"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_task_is_asked_again(change: str, tmp_path: Path, tasks: Path) -> None:
    assert asked(tmp_path / "run") == list(range(ROWS))
    CHANGES[change](tasks)
    assert asked(tmp_path / "run") == list(range(ROWS))
    assert asked(tmp_path / "run") == []


def test_a_changed_picture_is_asked_again_and_no_other(tmp_path: Path, tasks: Path) -> None:
    asked(tmp_path / "run")
    other_picture(tasks)
    assert asked(tmp_path / "run") == [2]


@pytest.mark.parametrize(
    "change",
    [{"gen": (("steps", "2"),)}, {"gen": (("temperature", "0.5"),)}, {"gen": (("cache", "dual"),)}, {"seed": 7}],
    ids=str,
)
def test_a_changed_setting_is_asked_again(change: dict[str, object], tmp_path: Path, tasks: Path) -> None:
    asked(tmp_path / "run")
    assert asked(tmp_path / "run", replace(SPEC, **change)) == list(range(ROWS))


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 1}, {"batch_size": None}, {"device": "cpu"}, {"offline": True}, {"max_failures": "0"},
        {"time_limit": 9.0}, {"judge": "m@http://127.0.0.1:9/v1"},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_change_an_answer_uses_it_again(change: dict[str, object], tmp_path: Path, tasks: Path) -> None:
    asked(tmp_path / "run")
    assert asked(tmp_path / "run", replace(SPEC, **change)) == []


def test_scoring_code_and_targets_are_read_anew_without_asking(tmp_path: Path, tasks: Path) -> None:
    asked(tmp_path / "run")
    before = json.loads((tmp_path / "run/results.json").read_text())["tasks"]["lladav_toy_a"]
    edit(tasks / "toy_functions.py", 'float(read == doc["answer"])', "0.0")
    assert asked(tmp_path / "run") == []
    after = json.loads((tmp_path / "run/results.json").read_text())["tasks"]["lladav_toy_a"]
    assert before["metrics"]["accuracy"]["value"] > after["metrics"]["accuracy"]["value"] == 0


def test_changed_code_or_library_is_asked_again(tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(tmp_path / "run")
    monkeypatch.setattr(keys, "code_version", lambda: "other")
    assert asked(tmp_path / "run") == list(range(ROWS))
    versions = {**keys.package_versions(), "pillow": "1.0"}
    monkeypatch.setattr(keys, "package_versions", lambda: versions)
    assert asked(tmp_path / "run") == list(range(ROWS))
    assert asked(tmp_path / "run") == []


def test_a_cpu_build_and_a_gpu_build_of_a_library_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for version in ("2.5.1+cpu", "2.5.1+cu124", "2.6.0"):
        monkeypatch.setattr(keys.metadata, "version", lambda name, version=version: version)
        found.append(keys.package_versions.__wrapped__())
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("changed", "again"),
    [("weights", True), ("config.json", True), ("tokenizer_config.json", True), ("place", False), ("README.md", False)],
)
def test_files_of_a_checkpoint_under_the_same_path(changed: str, again: bool, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model")
    before = resolve_model(str(path), "cpu").fingerprint
    if changed == "weights":
        write_checkpoint(path, seed=1)
    elif changed == "place":
        path = Path(shutil.move(path, tmp_path / "moved"))
    elif changed == "README.md":
        (path / changed).write_text("other words")
    else:
        content = json.loads((path / changed).read_text())
        (path / changed).write_text(json.dumps({**content, "a_field": 1}))
    assert (resolve_model(str(path), "cpu").fingerprint != before) is again


def test_the_config_of_a_tower_below_the_checkpoint_counts(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model")
    content = json.loads((path / "config.json").read_text())
    sizes = content.pop("vision_config")
    (path / "tower").mkdir()
    (path / "config.json").write_text(json.dumps({**content, "mm_vision_tower": "tower"}))
    found = []
    for epsilon in (1e-6, 1e-3):
        (path / "tower" / "config.json").write_text(json.dumps({**sizes, "layer_norm_eps": epsilon}))
        found.append(resolve_model(str(path), "cpu").fingerprint)
    assert found[0] != found[1]


def test_the_number_type_counts_and_the_batch_size_does_not(tmp_path: Path) -> None:
    path = str(write_checkpoint(tmp_path / "model"))
    first = resolve_model(path, "cpu", batch_size=1).fingerprint
    assert resolve_model(path, None, batch_size=32, time_limit=5.0).fingerprint == first
    assert resolve_model(path, "cpu", "bfloat16").fingerprint != first
