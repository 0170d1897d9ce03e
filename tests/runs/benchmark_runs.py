"""Runs of published benchmarks on a few rows of our own: the rows' folder, and a model that answers by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lladav_eval.records import Generation, Question, RunSpec
from lladav_eval.runs.execute import RunResult, execute
from lladav_eval.runs.store import RunDirectory


class Says:
    """A model that answers by row and keeps what it was asked."""

    name, fingerprint = "says", "says-1"

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = answers
        self.asked: list[Question] = []

    def description(self) -> dict[str, Any]:
        return {}

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        self.asked += questions
        return [Generation(self.answers[question.doc_id], forward_passes=1) for question in questions]


def write_rows(root: Path, dataset: str, split: str, rows: Sequence[dict[str, Any]]) -> Path:
    folder = root / dataset
    folder.mkdir(parents=True)
    Image.new("RGB", (12, 8), (9, 200, 9)).save(folder / "picture.png")
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return root


def run(task: str, data: Path, model: Says, out: Path, protocol: str = "strict", **options: Any) -> RunResult:
    spec = RunSpec((task,), "says", data=str(data), protocol=protocol)  # type: ignore[arg-type]
    return execute(spec, lambda: model, RunDirectory(out), **options)


def samples(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
