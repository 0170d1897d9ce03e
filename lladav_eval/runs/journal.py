"""The journal: one line per answer, on disk before the next batch begins.

A line is ``{"sum":"<16 hex digits>","record":{...}}``; the sum is over the bytes of the record, so that a flipped byte
is found. Opening the journal checks every line. Lines that fail are moved to ``journal.rejected.jsonl`` with their
number and the reason, and their samples are asked again. The last line of a sample counts.

The answers themselves stay on disk: in memory there is a key and a position per sample.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lladav_eval.errors import EnvironmentError_
from lladav_eval.records import Generation, TraceStep

_HEAD = b'{"sum":"'
_MIDDLE = b'","record":'
_SUM_LENGTH = 16
_BODY = len(_HEAD) + _SUM_LENGTH + len(_MIDDLE)


@dataclass(frozen=True)
class Record:
    """One answer as the journal holds it."""

    task: str
    doc_id: int
    key: str
    prompt: str
    """The question as the task worded it."""
    generation: Generation


@dataclass(frozen=True)
class RejectedLine:
    """A line that can't be trusted."""

    number: int
    """1-based, in the journal as it was found."""
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class _Entry:
    key: bytes
    offset: int
    failed: bool
    traced: bool


def encode(record: Record) -> bytes:
    """One journal line, newline included. ASCII only, so that no text of a model can break it."""
    fields = {**vars(record.generation), **vars(record)}  # not asdict, whose deep copies take half of the loop's time
    del fields["generation"]
    if record.generation.trace is not None:
        fields["trace"] = [asdict(step) for step in record.generation.trace]
    body = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode("ascii")
    return _HEAD + _checksum(body) + _MIDDLE + body + b"}\n"


def decode(line: bytes) -> Record:
    """Read one line back. Raises ValueError with the reason when the line can't be trusted."""
    if not line.endswith(b"}\n"):
        raise ValueError("the line is cut off")
    if not line.startswith(_HEAD) or line[_BODY - len(_MIDDLE) : _BODY] != _MIDDLE:
        raise ValueError("not a journal line")
    body = line[_BODY:-2]
    if line[len(_HEAD) : len(_HEAD) + _SUM_LENGTH] != _checksum(body):
        raise ValueError("the checksum does not match")
    try:
        fields: dict[str, Any] = json.loads(body)
        identity = {name: fields.pop(name) for name in ("task", "doc_id", "key", "prompt")}
        fields["token_ids"] = tuple(fields["token_ids"])
        if fields["trace"] is not None:
            fields["trace"] = tuple(_trace_step(step) for step in fields["trace"])
        return Record(**identity, generation=Generation(**fields))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record has other fields than this version writes ({error})") from error


def _trace_step(step: dict[str, Any]) -> TraceStep:
    for name in ("positions", "token_ids", "confidences"):
        step[name] = tuple(step[name])
    return TraceStep(**step)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_SUM_LENGTH].encode()


class Journal:
    """Append-only store of answers. Only the holder of the run directory's lock may open it."""

    def __init__(self, path: Path) -> None:
        """Read and, where needed, repair the journal at ``path``; a missing file is an empty journal."""
        self.path = path
        self.rejected_path = path.with_name("journal.rejected.jsonl")
        self._entries: dict[tuple[str, int], _Entry] = {}
        self.rejected = self._load()
        self._end = path.stat().st_size if path.exists() else 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)

    def __len__(self) -> int:
        return len(self._entries)

    def _load(self) -> list[RejectedLine]:
        if not self.path.exists():
            return []
        rejected: list[RejectedLine] = []
        offset = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    self._index(decode(line), offset)
                except ValueError as error:
                    rejected.append(RejectedLine(number, str(error), line.decode("ascii", "backslashreplace")))
                offset += len(line)
        if rejected:
            self._set_aside(rejected)
            self._entries.clear()
            self._load()
        return rejected

    def _set_aside(self, rejected: Sequence[RejectedLine]) -> None:
        """First keep the bad lines, then replace the journal by its good ones, so that a kill between loses nothing."""
        with self.rejected_path.open("ab") as aside:
            for line in rejected:
                aside.write(json.dumps(asdict(line)).encode() + b"\n")
            aside.flush()
            os.fsync(aside.fileno())
        numbers = {line.number for line in rejected}
        repaired = self.path.with_name(self.path.name + ".tmp")
        with self.path.open("rb") as old, repaired.open("wb") as new:
            new.writelines(line for number, line in enumerate(old, start=1) if number not in numbers)
            new.flush()
            os.fsync(new.fileno())
        repaired.replace(self.path)

    def _index(self, record: Record, offset: int) -> None:
        generation = record.generation
        self._entries[record.task, record.doc_id] = _Entry(
            record.key.encode(), offset, generation.status == "failed", generation.trace is not None
        )

    def holds(self, task: str, doc_id: int, key: str, traced: bool = False, retry_failed: bool = False) -> bool:
        """Whether the sample needs no new answer."""
        entry = self._entries.get((task, doc_id))
        if entry is None or entry.key != key.encode():
            return False
        if entry.failed:
            return not retry_failed
        return entry.traced or not traced

    def failed(self, task: str, doc_id: int) -> bool:
        """Whether the sample's answer is a failure. Raises KeyError if there is none."""
        return self._entries[task, doc_id].failed

    def append(self, records: Sequence[Record]) -> None:
        """Write a batch and force it to disk. Raises EnvironmentError_ when the disk refuses."""
        lines = [encode(record) for record in records]
        data = memoryview(b"".join(lines))
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as error:
            raise EnvironmentError_(
                f"the journal {self.path} can't be written ({error.strerror}): make room or allow writing, then resume"
            ) from error
        for record, line in zip(records, lines, strict=True):
            self._index(record, self._end)
            self._end += len(line)

    def read(self, task: str, doc_ids: Iterable[int]) -> Iterator[Record]:
        """The answers of the given samples, in the given order. Raises KeyError for a sample without one."""
        with self.path.open("rb") as file:
            for doc_id in doc_ids:
                file.seek(self._entries[task, doc_id].offset)
                yield decode(file.readline())
