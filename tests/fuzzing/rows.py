"""Bad rows of benchmarks: in scoring, in prompts and as files, and bad task files."""

from __future__ import annotations

import io
import json
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from fuzzing.answers import answer_lines
from fuzzing.inputs import BYTES, JSON, Target, mutated, refused
from fuzzing.media import pictures
from hypothesis import strategies as st
from scoring.example_rows import ROWS

from lladav_eval import prompts
from lladav_eval.data.table import Table
from lladav_eval.runs.tasks import _read_yaml
from lladav_eval.scoring.registry import FAMILIES, get_scorer


@cache
def _prompt_modules() -> list[Any]:
    names = [module.name for module in pkgutil.iter_modules(prompts.__path__)]
    modules = [import_module(f"lladav_eval.prompts.{name}") for name in names]
    return [module for module in modules if hasattr(module, "doc_to_text")]


def _prompt_row() -> dict[str, Any]:
    picture = {"bytes": pictures()[0], "path": None}
    return {
        "id": "v_1", "question": "Which <image 1>?", "question_type": "multiple-choice", "options": "['a', 'b']",
        "image": picture, "image_1": picture, "image_list": [picture], "images": [picture], "decoded_image": picture,
        "query": "Q", "query_wo": "Q", "query_cot": "Q", "hint": "H", "A": "x", "B": "y", "choices": ["a", "b"],
        "choice_a": "1", "choice_b": "2", "choice_c": "3", "choice_d": "4", "data_type": "image", "video": "a.mp4",
        "candidates": ["a", "b"], "answer": "a", "start": 0.0, "end": 1.0, "fps": 3.0, "videoID": "x", "index": 3,
        "unit": "cm", "precision": 1.0, "question_id": "1", "category": "c", "duration": "short", "task_type": "ego",
        "video_name": "a.mp4", "answer_type": "integer",
    }  # fmt: skip


@st.composite
def rows(draw: st.DrawFn, row: Mapping[str, Any]) -> dict[str, Any]:
    """A good row with up to four cells replaced by anything or gone."""
    changed = dict(row)
    for name in draw(st.lists(st.sampled_from(sorted(changed)), min_size=1, max_size=4, unique=True)):
        if draw(st.booleans()):
            changed[name] = draw(JSON | st.binary(max_size=20) | st.fixed_dictionaries({"bytes": st.binary()}))
        else:
            del changed[name]
    return changed


SCORED = st.sampled_from(FAMILIES).flatmap(
    lambda family: st.tuples(st.just(family), rows(ROWS[family]), st.text(max_size=60) | st.sampled_from("ABCD"))
)


ASKED = st.deferred(lambda: st.tuples(st.sampled_from(_prompt_modules()), rows(_prompt_row())))


def check_scored_row(given: tuple[str, dict[str, Any], str], folder: Path) -> None:
    family, row, text = given
    for protocol in ("official", "strict"):
        score = refused(lambda protocol=protocol: get_scorer(family).score(row, text, protocol, 0))
        assert score is None or score.status in ("scored", "unparsed", "empty")


def check_asked_row(given: tuple[Any, dict[str, Any]], folder: Path) -> None:
    module, row = given
    settings = {"sub_task": "action_antonym"}
    text = refused(lambda: module.doc_to_text(row, settings))
    assert text is None or isinstance(text, str)
    refused(lambda: module.doc_to_visual(row, settings))


@cache
def _row_files() -> list[bytes]:
    line = {"id": 1, "text": "Which?", "image": {"bytes": "aGFsbG8="}, "video": {"path": "a/b.mp4"}}
    return [(json.dumps(line) + "\n").encode() * 3]


@cache
def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    table = {"id": [1, 2], "text": ["a", "b"], "image": [{"bytes": b"x", "path": None}] * 2}
    pq.write_table(pa.table(table), buffer)
    return buffer.getvalue()


def _check_table(ending: str) -> Callable[[bytes, Path], None]:
    def check(content: bytes, folder: Path) -> None:
        path = folder / f"test.{ending}"
        path.write_bytes(content)
        table = refused(lambda: Table("toy:test", [path], folder))
        if table is not None:
            refused(lambda: [table.where(number) for number, _ in enumerate(table.rows())])
            refused(lambda: table.digest)

    return check


def check_yaml(content: bytes, folder: Path) -> None:
    path = folder / "task.yaml"
    path.write_bytes(content)
    refused(lambda: _read_yaml(path))


YAML = b"""task: lladav_x
include: other
dataset_path: a/b
metadata:
  version: 1
  where: {a: [1, 2]}
doc_to_text: !function a.b
"""

TARGETS: dict[str, Target] = {
    "rows (scoring)": Target(SCORED, check_scored_row),
    "rows (prompts)": Target(ASKED, check_asked_row),
    "rows (jsonl)": Target(st.deferred(lambda: mutated(_row_files())) | answer_lines(), _check_table("jsonl")),
    "rows (parquet)": Target(st.deferred(lambda: mutated([_parquet()])), _check_table("parquet"), isolated=True),
    "task yaml": Target(mutated([YAML]) | BYTES, check_yaml),
}
