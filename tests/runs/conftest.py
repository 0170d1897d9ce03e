"""Fixtures of the run loop's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import toy
from benchmark_runs import write_rows


@pytest.fixture(autouse=True, scope="session")
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prepared data sets of the tests stay out of the user's cache."""
    os.environ.setdefault("LMMS_EVAL_DATASETS_CACHE", str(tmp_path_factory.mktemp("datasets")))


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the toy tasks, ten rows each; there are no others."""
    return toy.use_tasks(toy.write_tasks(tmp_path / "tasks"), monkeypatch)


@pytest.fixture
def pope(tmp_path: Path) -> Path:
    rows = [
        {"id": str(i), "question_id": str(i), "question": "Is there a dog in the image?", "answer": answer}
        | {"category": "adversarial", "image_source": "x", "image": {"path": "picture.png"}}
        for i, answer in enumerate(("yes", "no", "yes", "no"))
    ]
    return write_rows(tmp_path / "data", "lmms-lab-encoder/POPE", "test", rows)


@pytest.fixture
def mathvista(tmp_path: Path) -> Path:
    kind = {"question_type": "free_form", "answer_type": "integer", "precision": None, "choices": None, "unit": None}
    row = {"question": "How many?", "query": "Hint: ... Question: How many?", "answer": "14", "metadata": {}, **kind}
    rows = [{**row, "pid": str(i), "image": "x.png", "decoded_image": {"path": "picture.png"}} for i in range(2)]
    return write_rows(tmp_path / "data", "AI4Math/MathVista", "testmini", rows)


@pytest.fixture
def mathverse(tmp_path: Path) -> Path:
    row = {"sample_index": "1", "problem_index": "1", "problem_version": "Vision Only", "question": "", "answer": "2"}
    row |= {"question_for_eval": "", "question_type": "free-form", "metadata": {}, "query_wo": "x", "query_cot": "x"}
    row |= {"image": {"path": "picture.png"}}
    return write_rows(tmp_path / "data", "CaraJ/MathVerse-lmmseval/testmini_version_split", "vision_only", [row])


@pytest.fixture
def mme(tmp_path: Path) -> Path:
    rows = [
        {"question_id": f"code_reasoning/{i // 2}.png", "question": "Is it code?", "answer": answer}
        | {"category": "code_reasoning", "image": {"path": "picture.png"}}
        for i, answer in enumerate(("Yes", "No", "Yes", "No"))
    ]
    return write_rows(tmp_path / "data", "lmms-lab-encoder/MME", "test", rows)
