"""What is fuzzed: for each kind of input that comes from outside, a strategy that makes bad ones and what must hold.

Every input must be read, or end in one of our errors with one line. tests/test_fuzz.py tries a few in every test run,
benchmarks/fuzz.py as many as there is time for.
"""

from __future__ import annotations

import io
import json
import pkgutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
from hypothesis import strategies as st
from PIL import Image
from scoring.example_rows import ROWS
from tiny_checkpoint import write_checkpoint

from lladav_eval import prompts
from lladav_eval.adapters.replay import ReplayAnswerer
from lladav_eval.data.table import Table
from lladav_eval.errors import EvalError
from lladav_eval.loading import load
from lladav_eval.media import open_image
from lladav_eval.processing.video import sample_video
from lladav_eval.records import Generation, TraceStep
from lladav_eval.runs.journal import Journal, Record, _checksum, encode
from lladav_eval.runs.predictions import read_predictions, read_replies
from lladav_eval.runs.tasks import _read_yaml
from lladav_eval.scoring.registry import FAMILIES, get_scorer

ODD_NUMBERS = st.sampled_from([0, -1, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), 0.1, True])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | ODD_NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
BYTES = st.binary(max_size=60)
WORDS = st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\n", b'"', b"}", b"[" * 40])


@dataclass(frozen=True)
class Target:
    """One kind of input."""

    inputs: st.SearchStrategy[Any]
    check: Callable[[Any, Path], None]
    """Gets an input and an empty folder; raises whatever an input must not raise."""
    isolated: bool = False
    """Read by libraries in C that may crash: the long form runs it apart."""


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A good file with one to six pieces flipped, overwritten, cut out, doubled or cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        if not content:
            break
        # Most of what a format checks stands at its beginning.
        last = len(content) - 1 if draw(st.booleans()) else min(len(content) - 1, 200)
        start = draw(st.integers(0, last))
        length = draw(st.integers(1, 16))
        how = draw(st.sampled_from(["flip", "word", "random", "cut", "double", "end"]))
        if how == "flip":
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "word":
            word = draw(WORDS)
            content[start : start + len(word)] = word
        elif how == "random":
            content[start : start + length] = draw(st.binary(min_size=1, max_size=16))
        elif how == "cut":
            del content[start : start + length]
        elif how == "double":
            content[start:start] = content[start : start + length]
        else:
            del content[start:]
    return bytes(content)


def refused(call: Callable[[], Any]) -> Any:
    """What the call gives; None where it raises one of our errors, which must be one line."""
    try:
        return call()
    except EvalError as error:
        lines = str(error).splitlines()
    assert len(lines) == 1, lines
    return None


# The journal


def _records() -> list[Record]:
    trace = (TraceStep(0, 0, (0, 1), (5, 6), (0.5, 0.25)),)
    good = Generation("A", (1, 2), 4, trace=trace)
    return [Record("task", row, f"key{row}", "Which?", good if row else Generation.failure("why")) for row in range(4)]


@st.composite
def journals(draw: st.DrawFn) -> bytes:
    """Lines as they are, damaged, and with fields of other kinds under a right checksum."""
    lines = [encode(record) for record in _records()]
    for place in range(len(lines)):
        how = draw(st.sampled_from(["whole", "whole", "damaged", "fields", "record"]))
        if how == "damaged":
            lines[place] = draw(mutated([lines[place]]))
        elif how == "record":
            lines[place] = _signed(draw(JSON))
        elif how == "fields":
            fields = json.loads(lines[place])["record"]
            fields[draw(st.sampled_from(sorted(fields)))] = draw(JSON)
            lines[place] = _signed(fields)
    return b"".join(lines)


def _signed(value: Any) -> bytes:
    body = json.dumps(value).encode()
    return b'{"sum":"' + _checksum(body) + b'","record":' + body + b"}\n"


def check_journal(content: bytes, folder: Path) -> None:
    """Every line is kept or set aside; the journal can then be read, gone on with and opened again."""
    path = folder / "journal.jsonl"
    path.write_bytes(content)
    whole = {encode(record) for record in _records()}
    kept = [line for line in content.splitlines(keepends=True) if line in whole]
    with Journal(path) as journal:
        for record in _records():
            if encode(record) in kept:
                assert journal.holds(record.task, record.doc_id, record.key) or content.count(b"\n") > len(kept)
        journal.append(_records())
        assert list(journal.read("task", range(4))) == _records()
        assert len(journal.rejected) + len(kept) <= content.count(b"\n") + 1
    with Journal(path) as journal:
        assert journal.rejected == []
        assert list(journal.read("task", range(4))) == _records()


# Recorded answers


@cache
def _answers() -> list[bytes]:
    ours = [{"doc_id": row, "prediction": f"text {row}"} for row in range(4)]
    theirs = [{"doc_id": row, "resps": [[f"text {row}"]], "target": "A"} for row in range(4)]
    replies = [{"doc_id": row, "replies": ["A", "B"]} for row in range(4)]
    return ["".join(json.dumps(line) + "\n" for line in lines).encode() for lines in (ours, theirs, replies)]


@st.composite
def answer_lines(draw: st.DrawFn) -> bytes:
    """Lines whose fields hold anything."""
    names = st.sampled_from(["doc_id", "prediction", "resps", "filtered_resps", "replies", "task", "x"])
    values = JSON | st.integers(0, 4)
    lines = draw(st.lists(st.dictionaries(names, values, max_size=4) | JSON, max_size=5))
    return "".join(json.dumps(line) + "\n" for line in lines).encode("utf-8", "surrogatepass")


def check_answers(content: bytes, folder: Path) -> None:
    path = folder / "answers.jsonl"
    path.write_bytes(content)
    found = refused(lambda: read_predictions(path, 4))
    assert found is None or (len(found) == 4 and all(isinstance(text, str) for text in found))
    replies = refused(lambda: read_replies(path, 4))
    assert replies is None or set(replies) <= set(range(4))
    refused(lambda: ReplayAnswerer(path))


@cache
def _table() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["index", "prediction"], *[[row, f"text {row}"] for row in range(4)]):
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def check_spreadsheet(content: bytes, folder: Path) -> None:
    path = folder / "answers.xlsx"
    path.write_bytes(content)
    refused(lambda: read_predictions(path, 4))


# Checkpoints


@cache
def _checkpoint() -> Path:
    return write_checkpoint(Path(tempfile.mkdtemp(prefix="fuzz")) / "model")


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """The config of a small checkpoint with some fields, also of the tower, replaced or gone."""
    fields = json.loads((_checkpoint() / "config.json").read_text())
    for _ in range(draw(st.integers(1, 3))):
        inner = fields["vision_config"] if draw(st.booleans()) else fields
        if not isinstance(inner, dict) or not inner:
            continue
        name = draw(st.sampled_from(sorted(inner)))
        if draw(st.integers(0, 4)) == 0:
            inner.pop(name)
        else:
            inner[name] = draw(
                JSON
                | st.sampled_from(["(1x1),...,(999999x999999)", "(0x0),(0x0)", "anyres_max_0", "mlp99999999x_gelu"])
                | st.sampled_from([10**9, 10**4, 3, [[16, 16]] * 3, "anyres_max_" + "9" * 5000])
            )
        fields.setdefault("vision_config", {})
    return fields


def _checkpoint_with(folder: Path, name: str, content: bytes) -> Path:
    for file in _checkpoint().iterdir():
        (folder / file.name).symlink_to(file)
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    return folder


def check_config(fields: dict[str, Any], folder: Path) -> None:
    content = json.dumps(fields).encode("utf-8", "surrogatepass")
    refused(lambda: load(_checkpoint_with(folder, "config.json", content), "cpu"))


def _check_file(name: str) -> Callable[[bytes, Path], None]:
    return lambda content, folder: refused(lambda: load(_checkpoint_with(folder, name, content), "cpu"))


def _file(name: str) -> st.SearchStrategy[bytes]:
    return st.deferred(lambda: mutated([(_checkpoint() / name).read_bytes()]) | BYTES)


# Media


@cache
def _pictures() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    found = []
    for mode, kinds in {
        "RGB": ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000", "PCX", "SGI", "AVIF"),
        "P": ("GIF", "PNG"),
        "RGBA": ("PNG", "TIFF"),
    }.items():
        for kind in kinds:
            buffer = io.BytesIO()
            try:
                Image.fromarray(pixels).convert(mode).save(buffer, kind)
            except (OSError, KeyError):  # this Pillow was built without it
                continue
            found.append(buffer.getvalue())
    return found


def check_picture(content: bytes, folder: Path) -> None:
    """A picture that is opened can also be used."""
    image = refused(lambda: open_image(content, "a picture"))
    if image is not None:
        image.convert("RGB").resize((8, 8))


@cache
def _videos() -> list[bytes]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for codec, name in (("libx264", "a.mp4"), ("mpeg4", "a.avi"), ("libvpx", "a.webm"), ("mpeg4", "a.mkv")):
            path = Path(folder) / name
            try:
                with av.open(str(path), "w") as container:
                    stream: Any = container.add_stream(codec, rate=5)
                    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
                    for shade in range(0, 250, 50):
                        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
                        container.mux(stream.encode(frame))
                    container.mux(stream.encode())
            except (av.FFmpegError, ValueError):  # no such encoder here
                continue
            found.append(path.read_bytes())
    return found


def check_video(content: bytes, folder: Path) -> None:
    path = folder / "a.mp4"
    path.write_bytes(content)
    found = refused(lambda: sample_video(path, 4))
    assert found is None or len(found.frames) == 4


# Rows


@cache
def _prompt_modules() -> list[Any]:
    names = [module.name for module in pkgutil.iter_modules(prompts.__path__)]
    modules = [import_module(f"lladav_eval.prompts.{name}") for name in names]
    return [module for module in modules if hasattr(module, "doc_to_text")]


def _prompt_row() -> dict[str, Any]:
    picture = {"bytes": _pictures()[0], "path": None}
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
    "journal": Target(journals() | st.binary(max_size=200), check_journal),
    "predictions": Target(st.deferred(lambda: mutated(_answers())) | answer_lines(), check_answers),
    "predictions (xlsx)": Target(st.deferred(lambda: mutated([_table()])), check_spreadsheet),
    "config.json": Target(st.deferred(configs), check_config),
    "config.json (bytes)": Target(_file("config.json"), _check_file("config.json")),
    "tokenizer_config.json": Target(_file("tokenizer_config.json"), _check_file("tokenizer_config.json")),
    "safetensors": Target(_file("model.safetensors"), _check_file("model.safetensors"), isolated=True),
    "pictures": Target(st.deferred(lambda: mutated(_pictures()) | BYTES), check_picture, isolated=True),
    "videos": Target(st.deferred(lambda: mutated(_videos()) | BYTES), check_video),
    "rows (scoring)": Target(SCORED, check_scored_row),
    "rows (prompts)": Target(ASKED, check_asked_row),
    "rows (jsonl)": Target(st.deferred(lambda: mutated(_row_files())) | answer_lines(), _check_table("jsonl")),
    "rows (parquet)": Target(st.deferred(lambda: mutated([_parquet()])), _check_table("parquet"), isolated=True),
    "task yaml": Target(mutated([YAML]) | BYTES, check_yaml),
}
