"""The journal gives back what was written, finds every damaged line, and keeps it aside."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lladav_eval.errors import EnvironmentError_
from lladav_eval.records import Generation, TraceStep
from lladav_eval.runs.journal import MOST_ROWS, Journal, Record, decode, encode

TRACE = (TraceStep(0, 0, (0, 1), (5, 6), (0.5, 0.25)), TraceStep(1, 0, (), (), ()))


def record(doc_id: int = 0, text: str = "A", key: str = "k", **fields: object) -> Record:
    return Record("task", doc_id, key, "Which?", Generation(text, (1, 2), 4, **fields))


@given(st.text(), st.text(), st.lists(st.integers(0, 2**31)), st.floats(0, 1e6), st.booleans())
def test_any_answer_comes_back_as_it_was(text: str, prompt: str, ids: list[int], seconds: float, traced: bool) -> None:
    generation = Generation(text, tuple(ids), 3, "stop", seconds, trace=TRACE if traced else None)
    written = Record("täsk", 7, "key", prompt, generation, "0123" if traced else None)
    line = encode(written)
    assert line.count(b"\n") == 1
    assert decode(line) == written


@pytest.mark.parametrize("trace", [None, TRACE])
def test_a_line_holds_every_field_of_the_answer(trace: tuple[TraceStep, ...] | None) -> None:
    written = Record("task", 3, "k", "Which?", Generation("A", (1, 2), 4, prompt_tokens=7, flops=1e9, trace=trace))
    fields = asdict(written)
    fields.update(fields.pop("generation"))
    assert encode(written)[len(b'{"sum":"0123456789abcdef","record":') : -2] == json.dumps(
        fields, separators=(",", ":"), sort_keys=True
    ).encode("ascii")


@settings(max_examples=300)
@given(st.data())
def test_any_single_changed_byte_is_found(data: st.DataObject) -> None:
    line = bytearray(encode(record(text="some answer")))
    position = data.draw(st.integers(0, len(line) - 1))
    line[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"cut off|not a journal line|checksum"):
        decode(bytes(line))


@given(st.binary())
def test_any_other_bytes_are_refused_and_never_crash(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|not a journal line|checksum"):
        decode(line)


def test_every_way_to_cut_the_file_loses_at_most_the_last_line(tmp_path: Path) -> None:
    lines = [encode(record(doc_id)) for doc_id in range(2)]
    whole = b"".join(lines)
    for length in range(len(whole) + 1):
        path = tmp_path / str(length) / "journal.jsonl"
        path.parent.mkdir()
        path.write_bytes(whole[:length])
        intact = (length >= len(lines[0])) + (length == len(whole))
        torn = length not in (0, len(lines[0]), len(whole))
        with Journal(path) as journal:
            assert len(journal) == intact
            assert len(journal.rejected) == torn
            journal.append([record(5)])
        assert path.read_bytes() == b"".join(lines[:intact]) + encode(record(5))
        assert (path.parent / "journal.rejected.jsonl").exists() == torn


def test_rejected_lines_are_kept_with_number_and_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "journal.jsonl", []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    path.write_bytes(encode(record(0)) + b"\xffnonsense\n" + encode(record(1)))
    with Journal(path) as journal:
        assert [(line.number, line.reason) for line in journal.rejected] == [(2, "the line is cut off")]
        assert journal.holds("task", 1, "k")
        assert [found.doc_id for found in journal.read("task", [0, 1])] == [0, 1]
    rejected = tmp_path / "journal.rejected.jsonl"
    assert synced == [rejected.stat().st_size, path.stat().st_size]
    aside = json.loads(rejected.read_text())
    assert aside == {"number": 2, "reason": "the line is cut off", "raw": "\\xffnonsense\n"}
    with Journal(path) as journal:
        assert journal.rejected == []


@pytest.mark.parametrize("body", [b'{"task":"t","doc_id":0,"key":"k"}', b'"a text"', b"[]", b"[" * 100_000])
def test_a_record_of_another_version_is_set_aside(body: bytes) -> None:
    from lladav_eval.runs.journal import _checksum

    with pytest.raises(ValueError, match="other fields"):
        decode(b'{"sum":"' + _checksum(body) + b'","record":' + body + b"}\n")


def test_the_last_line_of_a_sample_counts(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append([record(0, "", status="failed", error="x"), record(1)])
        assert journal.failed("task", 0)
        assert journal.holds("task", 0, "k")
        assert not journal.holds("task", 0, "k", retry_failed=True)
        journal.append([record(0, "B")])
        assert not journal.failed("task", 0)
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert [found.generation.text for found in journal.read("task", [1, 0])] == ["A", "B"]
        with pytest.raises(KeyError):
            list(journal.read("task", [2]))


def test_what_a_sample_must_have_to_be_used_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append([record(0), record(1, trace=TRACE)])
        assert journal.holds("task", 0, "k")
        assert not journal.holds("task", 0, "other key")
        assert not journal.holds("other task", 0, "k")
        assert not journal.holds("task", 0, "k", traced=True)
        assert journal.holds("task", 1, "k", traced=True)


def test_a_batch_is_on_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append([record(0), record(1)])
        assert synced == [(tmp_path / "journal.jsonl").stat().st_size]


def test_a_full_disk_is_one_clear_error_and_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def full(handle: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return real(handle, data[:99])

    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append([record(0)])
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(EnvironmentError_, match=r"No space left on device\): make room"):
            journal.append([record(1)])
        monkeypatch.undo()
        journal.append([record(2)])
    assert (tmp_path / "journal.jsonl").read_bytes() == encode(record(0)) + encode(record(2)), "no torn line is left"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc_id": "0"}, "no whole number"),
        ({"doc_id": True}, "no whole number"),
        ({"doc_id": -1}, "no row's number"),
        ({"doc_id": MOST_ROWS}, "no row's number"),
        ({"task": 5}, "no text"),
        ({"text": None}, "no text"),
        ({"error": 5}, "no text"),
        ({"status": "fine"}, "status or seconds"),
        ({"seconds": "1"}, "status or seconds"),
        ({"token_ids": ["x"]}, "no whole number"),
        ({"trace": 5}, "other fields"),
        ({"token_ids": 5}, "other fields"),
    ],
)
def test_a_line_with_values_no_run_writes_is_refused_though_its_sum_is_right(
    change: dict[str, object], message: str
) -> None:
    from lladav_eval.runs.journal import _checksum

    fields = {**json.loads(encode(record()))["record"], **change}
    body = json.dumps(fields, separators=(",", ":")).encode()
    with pytest.raises(ValueError, match=message):
        decode(b'{"sum":"' + _checksum(body) + b'","record":' + body + b"}\n")


def test_a_line_that_spoils_while_the_run_goes_on_is_told(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append([record(0)])
        content = bytearray((tmp_path / "journal.jsonl").read_bytes())
        content[80] ^= 1
        (tmp_path / "journal.jsonl").write_bytes(content)
        with pytest.raises(EnvironmentError_, match=r"changed on the disk \(task, doc_id 0: the checksum"):
            list(journal.read("task", [0]))


def test_memory_grows_by_a_key_and_a_place_per_sample(tmp_path: Path) -> None:
    """Not by questions and answers: that is what keeps a run of 100,000 samples as small as one of 1,000."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for start in range(0, 4000, 100):
                journal.append([record(doc_id, text="x" * 5000, key="0" * 32) for doc_id in range(start, start + 100)])
            written = tracemalloc.get_traced_memory()[0] - before
            reopened = Journal(path)
            read = tracemalloc.get_traced_memory()[0] - before - written
        finally:
            tracemalloc.stop()
        assert len(journal) == len(reopened) == 4000
        reopened.__exit__()
    assert written < 4000 * 100
    assert read < 4000 * 100
