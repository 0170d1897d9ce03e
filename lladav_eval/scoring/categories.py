"""The category that a benchmark itself sorts a row into: MMMU's subject, MME's category and so on.

It comes from the row alone, never from the answer, so that a failed sample has one too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lladav_eval.scoring.rows import Row

_COLUMNS: Mapping[str, str] = {
    "mmmu_pro_standard": "subject",
    "mmmu_pro_vision": "subject",
    "muirbench": "task",
    "mmstar": "category",
    "mme": "category",
    "mmbench": "category",
    "mmbench_circular": "category",
    "pope": "category",
    "ocrbench": "question_type",
    "mlvu": "task_type",
    "videomme": "duration",
    "chartqa": "type",
    "seedbench": "question_type_id",
    "mathvista": "metadata.task",
    "mathverse": "metadata.subject",
}
"""Family -> its column, or a field of one that holds a mapping; as the benchmarks' own tables are broken down."""

_SEED = (
    "Scene Understanding", "Instance Identity", "Instance Attributes", "Instance Location", "Instances Counting",
    "Spatial Relation", "Instance Interaction", "Visual Reasoning", "Text Understanding", "Action Recognition",
    "Action Prediction", "Procedure Understanding",
)  # fmt: skip
"""SEED-Bench numbers its dimensions from 1 (arXiv:2307.16125, table 1)."""

_MMMU_ID = re.compile(r"[^_]+_(.+)_\d+")


def category_of(family: str, row: Row, part: str | None = None) -> str | None:
    """The row's category; None where the benchmark has none, or the data at hand lack the column.

    Args:
        part: the data set's configuration, which is MVBench's subtask.
    """
    if family == "mvbench":
        return part
    if family == "mmmu":
        subject = _MMMU_ID.fullmatch(str(row.get("id", "")))
        return subject.group(1) if subject else None
    if family not in _COLUMNS:
        return None
    value = cell(row, _COLUMNS[family])
    if family == "seedbench" and value is not None:
        return _SEED[int(value) - 1] if value.isdigit() and 1 <= int(value) <= len(_SEED) else value
    if family == "chartqa" and value is not None:
        return value.removesuffix("_test")
    return value


def cell(row: Row, column: str) -> str | None:
    """A cell as text; ``a.b`` is the field b of a cell that holds a mapping. None where there is none, or no text."""
    value = row.get(column)
    name, dot, inner = column.partition(".")
    if dot and column not in row:
        outer = row.get(name)
        value = outer.get(inner) if isinstance(outer, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value).strip() or None
