"""Bad journals and bad files of recorded answers."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

from fuzzing.inputs import JSON, Target, mutated, refused
from hypothesis import strategies as st

from lladav_eval.adapters.replay import ReplayAnswerer
from lladav_eval.records import Generation, TraceStep
from lladav_eval.runs.journal import Journal, Record, _checksum, encode
from lladav_eval.runs.predictions import read_predictions, read_replies


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


@cache
def _answers() -> list[bytes]:
    ours = [{"doc_id": row, "prediction": f"text {row}"} for row in range(4)]
    theirs = [{"doc_id": row, "resps": [[f"text {row}"]], "target": "A"} for row in range(4)]
    replies = [{"doc_id": row, "replies": ["A", "B"]} for row in range(4)]
    named = [{"id": f"row {row}", "response": f"text {row}", "question": "Who?"} for row in range(4)]
    files = (ours, theirs, replies, named)
    return ["".join(json.dumps(line) + "\n" for line in lines).encode() for lines in files]


@cache
def _other_files() -> list[bytes]:
    rows = [{"index": row, "split": "test", "prediction": f"text {row}"} for row in range(4)]
    videos = [{"video_id": 0, "questions": [{"id": f"row {row}", "response": "A"} for row in range(4)]}]
    texts = {f"row {row}": "A" for row in range(4)}
    cells = "".join(f'"{row}"\t"test"\t"text, {row}"\n' for row in range(4))
    table = f'"index"\t"split"\t"prediction"\n{cells}'
    return [*(json.dumps(content).encode() for content in (rows, videos, texts)), table.encode()]


@st.composite
def answer_lines(draw: st.DrawFn) -> bytes:
    """Lines whose fields hold anything."""
    fields = "doc_id prediction resps filtered_resps replies task x id index response question input doc target split"
    names = st.sampled_from(f"{fields} questions logs".split())
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


def check_other_answers(content: bytes, folder: Path) -> None:
    columns = {"id": [f"row {row}" for row in range(4)], "question": ["Who?", "When?"] * 2, "answer": [*"ABAB"]}
    for name in ("answers.json", "answers.tsv", "answers.csv"):
        path = folder / name
        path.write_bytes(content)
        found = refused(lambda path=path: read_predictions(path, 4, columns, named="id", split="test"))
        assert found is None or (len(found) == 4 and all(isinstance(text, str) for text in found))


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


TARGETS: dict[str, Target] = {
    "journal": Target(journals() | st.binary(max_size=200), check_journal),
    "predictions": Target(st.deferred(lambda: mutated(_answers())) | answer_lines(), check_answers),
    "predictions (other files)": Target(
        st.deferred(lambda: mutated([*_other_files(), *_answers()])) | answer_lines(), check_other_answers
    ),
    "predictions (xlsx)": Target(st.deferred(lambda: mutated([_table()])), check_spreadsheet),
}
