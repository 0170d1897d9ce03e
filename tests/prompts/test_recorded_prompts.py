"""Every recorded prompt of the authors' evaluation and of lmms-eval 0.7.3, byte for byte."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

# Recorded name -> where our text comes from.
FUNCTIONS = {
    "mmmu_val": "mmmu.doc_to_text",
    "mmmu_pro_standard10": "mmmu_pro.doc_to_text",
    "mmmu_pro_vision": "mmmu_pro.vision_doc_to_text",
    "mmstar": "mmstar.doc_to_text",
    "ai2d": "ai2d.doc_to_text",
    "seedbench": "seedbench.doc_to_text",
    "mmbench_en_dev": "mmbench.doc_to_text",
    "muirbench": "muirbench.doc_to_text",
    "videomme": "videomme.doc_to_text",
    "mlvu_dev": "mlvu.doc_to_text",
    "mme": "mme.doc_to_text",
    "realworldqa": "realworldqa.doc_to_text",
    "chartqa": "chartqa.doc_to_text",
    "docvqa_val": "docvqa.doc_to_text",
    "infovqa_val": "infovqa.doc_to_text",
    "mathverse_testmini": "mathverse.doc_to_text",
    "mathvista_testmini": "mathvista.doc_to_text",
    "pope": "pope.doc_to_text",
    "ocrbench": "ocrbench.doc_to_text",
    "mvbench": "mvbench.doc_to_text",
}


def recorded(schema: Path) -> dict[str, list[str]]:
    """Name -> texts: the authors' where their script covers the family, else lmms-eval's."""
    found = {}
    for name in ("prompts_lmms_eval_0.7.3.json", "prompts_authors_fork.json"):
        for family, entry in json.loads((schema / name).read_text()).items():
            # What is a fixed text of the YAML, rather than a function's, was recorded with a mark in front.
            found[family] = [text.removeprefix("TEMPLATE:") for text in entry["contexts"]]
    return found


def test_the_recorded_families_are_ours(shared_dir: Path) -> None:
    assert recorded(shared_dir / "schema").keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("family", FUNCTIONS)
def test_every_recorded_row(shared_dir: Path, family: str) -> None:
    schema = shared_dir / "schema"
    module, function = FUNCTIONS[family].split(".")
    doc_to_text = getattr(import_module(f"lladav_eval.prompts.{module}"), function)
    rows = [json.loads(line) for line in (schema / f"{family}.jsonl").read_text().splitlines()]
    assert [doc_to_text(row) for row in rows] == recorded(schema)[family]
