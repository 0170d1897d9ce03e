"""What rows share comes from the row alone, and from columns that the benchmarks really have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lladav_eval.scoring.clusters import CLUSTER_COLUMNS, cluster_of
from lladav_eval.scoring.registry import FAMILIES


@pytest.mark.parametrize(
    ("family", "row", "cluster"),
    [
        ("mme", {"category": "OCR", "question_id": "OCR/0001.jpg"}, "OCR/OCR/0001.jpg"),
        ("mmbench", {"index": 3_000_241}, "241"),
        ("mmbench_circular", {"index": "241"}, "241"),
        ("mmbench", {"index": "x"}, None),
        ("pope", {"image_source": "COCO_val2014_1", "id": "0"}, "COCO_val2014_1"),
        ("videomme", {"videoID": "fFjv93ACGo8", "question_id": "001-1"}, "fFjv93ACGo8"),
        ("mathverse", {"problem_index": "685"}, "685"),
        ("seedbench", {"data_id": None}, None),
        ("docvqa", {"docId": 14465}, "14465"),
        ("docvqa", {}, None),
        ("muirbench", {"idx": 7, "counterpart_idx": 3}, "3/7"),
        ("muirbench", {"idx": 3, "counterpart_idx": 7}, "3/7"),
        ("muirbench", {"idx": 3, "counterpart_idx": None}, None),
        ("mmmu", {"id": "validation_Art_1"}, None),
        ("None", {"id": "1"}, None),
    ],
)
def test_clusters(family: str, row: dict[str, Any], cluster: str | None) -> None:
    assert cluster_of(family, row) == cluster


def test_every_family_named_is_one() -> None:
    assert set(CLUSTER_COLUMNS) <= set(FAMILIES)


FILES = {
    "mmbench": "mmbench_en_dev", "mmbench_circular": "mmbench_en_dev", "docvqa": "docvqa_val", "infovqa": "infovqa_val",
    "mathverse": "mathverse_testmini", "mlvu": "mlvu_dev",
}  # fmt: skip


@pytest.mark.parametrize("family", CLUSTER_COLUMNS)
def test_published_rows_have_the_columns(family: str, shared_dir: Path) -> None:
    lines = (shared_dir / "schema" / f"{FILES.get(family, family)}.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        assert set(CLUSTER_COLUMNS[family]) <= set(row)
        unknown = any(row[column] is None for column in CLUSTER_COLUMNS[family])
        assert (cluster_of(family, row) is None) == unknown
