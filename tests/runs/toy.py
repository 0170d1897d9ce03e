"""A small task on disk, and a model that needs no weights, for tests of the run loop.

Run as a script it is ``lladav-eval`` with that model and those tasks, so that a test can kill it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from lladav_eval.records import Generation, Question

if TYPE_CHECKING:
    import pytest

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}

FUNCTIONS = """
def doc_to_visual(doc):
    return [doc["image"].convert("RGB")]

def doc_to_text(doc):
    return f"Row {doc['row']}: which colour is this?"

def process_results(doc, results):
    if results[0] == "crash the scorer":
        raise RuntimeError("the scorer met something odd\\nand more")
    read = results[0] if results[0] in ("red", "green", "blue") else None
    status = "scored" if read else "unparsed" if results[0] else "empty"
    return {"accuracy": float(read == doc["answer"]), "extracted": read, "status": status}

def mean(items):
    return sum(items) / len(items)
"""

YAML = """
task: {name}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {name}.parquet
test_split: test
output_type: generate_until
doc_to_visual: !function toy_functions.doc_to_visual
doc_to_text: !function toy_functions.doc_to_text
doc_to_target: answer
generation_kwargs:
  gen_length: 4
  block_length: 2
  steps: 4
  think_mode: no_think
process_results: !function toy_functions.process_results
metric_list:
  - metric: accuracy
    aggregation: !function toy_functions.mean
    higher_is_better: true
metadata:
  version: 1.5
  description: colours of small images
  category: answer
"""


def write_tasks(folder: Path, rows: int = 10, unreadable: Sequence[int] = (), cut_off: Sequence[int] = ()) -> Path:
    """Tasks lladav_toy_a and lladav_toy_b in a group lladav_toy; some rows' images can be made unreadable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy_functions.py").write_text(FUNCTIONS)
    (folder / "_group.yaml").write_text("group: lladav_toy\ntask:\n  - lladav_toy_a\n  - lladav_toy_b\n")
    names = list(COLOURS)
    for offset, name in enumerate(("lladav_toy_a", "lladav_toy_b")):
        answers = [names[(row + offset) % 3] for row in range(rows)]
        cells = []
        for row, answer in enumerate(answers):
            content = png(answer)
            content = (
                b"not an image" if row in unreadable else content[: len(content) // 2] if row in cut_off else content
            )
            cells.append({"bytes": content, "path": None})
        cell = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        columns = {"row": pa.array(range(rows)), "answer": pa.array(answers), "image": pa.array(cells, cell)}
        kinds = {"row": ("Value", "int64"), "answer": ("Value", "string"), "image": ("Image", None)}
        features = {key: {"_type": kind, **({"dtype": dtype} if dtype else {})} for key, (kind, dtype) in kinds.items()}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), folder / f"{name}.parquet")
        (folder / f"{name}.yaml").write_text(YAML.format(name=name))
    return folder


def use_tasks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the tasks of a folder the only ones there are."""
    from lladav_eval.runs import tasks as tasks_module

    tasks_module._list_tasks.cache_clear()
    monkeypatch.setattr(tasks_module, "tasks_dir", lambda: folder)
    return folder


def png(colour: str) -> bytes:
    """A picture of one colour, with noise enough that half of its bytes are not a whole picture."""
    image = Image.effect_noise((24, 24), 20).convert("RGB")
    image.paste(COLOURS[colour], (0, 0, 24, 20))
    image.paste(COLOURS[colour], (0, 20, 23, 24))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@dataclass
class ToyModel:
    """Names the colour of the picture; wrong for some rows. Answers depend on the question and settings alone."""

    name: str = "toy"
    fingerprint: str = "toy-weights-1"
    say: dict[int, str] = field(default_factory=dict)
    """Other answers, by doc_id."""
    fail: frozenset[int] = frozenset()
    stop_after: int | None = None
    """Raise KeyboardInterrupt in the batch that goes beyond this many answers."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def description(self) -> dict[str, Any]:
        return {"dtype": "float32", "device": "cpu"}

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        self.batches.append(len(questions))
        answers = []
        for question in questions:
            self.asked.append((question.task, question.doc_id))
            if self.stop_after is not None and len(self.asked) > self.stop_after:
                raise KeyboardInterrupt
            answers.append(self._one(question))
        return answers

    def _one(self, question: Question) -> Generation:
        if question.doc_id in self.fail:
            return Generation("", stop_reason="failed", status="failed", error="the logits are not finite")
        pixel = question.request.images[0].getpixel((1, 1))
        text = next(name for name, colour in COLOURS.items() if colour == pixel)
        if question.doc_id % 5 == 4:
            text = "purple"
        digest = hashlib.sha256(f"{question.request.text} {question.params}".encode()).digest()
        text = self.say.get(question.doc_id, text)
        return Generation(text, tuple(digest[:4]), question.params.steps, "length", time.perf_counter() % 1)


class SlowToyModel(ToyModel):
    """Kills its own process in the given batch, or waits to be killed."""

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        if str(len(self.batches)) == os.environ.get("TOY_DIE_IN_BATCH"):
            os.kill(os.getpid(), signal.SIGKILL)
        if str(len(self.batches)) == os.environ.get("TOY_WAIT_IN_BATCH"):
            Path(os.environ["TOY_WAITING"]).touch()
            time.sleep(60)
        return super().answer(questions)


def install(tasks: Path, model: ToyModel) -> types.ModuleType:
    """A stand-in for lladav_eval.adapters.models that knows the model "toy" alone."""
    from lladav_eval.errors import UsageError

    module = types.ModuleType("lladav_eval.adapters.models")

    def resolve_model(name: str, device: str | None = None, dtype: str | None = None, **options: object) -> ToyModel:
        if name != "toy":
            raise UsageError(f"unknown model {name!r}")
        return model

    vars(module).update(resolve_model=resolve_model, AVAILABLE={"toy": "names colours"}, PREFIXES=("hf", "openai"))
    return module


if __name__ == "__main__":
    from lladav_eval.cli.main import main
    from lladav_eval.runs import tasks as tasks_module

    folder = Path(os.environ["TOY_TASKS"])
    tasks_module.tasks_dir = lambda: folder
    sys.modules["lladav_eval.adapters.models"] = install(folder, SlowToyModel())
    main()
