"""The journal: one line per answer, on disk before the next batch begins.

A line is ``{"sum":"<16 hex digits>","record":{...}}``; the sum is over the bytes of the record, so that a flipped byte
is found. Opening the journal checks every line. Lines that fail are moved to ``journal.rejected.jsonl`` with their
number and the reason, and their samples are asked again. The last line of a sample counts.

The answers themselves stay on disk: in memory there are 25 bytes a sample, its key's hash and its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lladav_eval.errors import EnvironmentError_, one_line
from lladav_eval.records import Generation, TraceStep
from lladav_eval.runs.manifest import redact

_HEAD = b'{"sum":"'
_MIDDLE = b'","record":'
_SUM_LENGTH = 16
_BODY = len(_HEAD) + _SUM_LENGTH + len(_MIDDLE)

MOST_ROWS = 1 << 24
"""Rows a task may have; a line with a larger number is damaged."""
_KEY_LENGTH = 16
_PRESENT, _FAILED, _TRACED = 1, 2, 4


@dataclass(frozen=True)
class Record:
    """One answer as the journal holds it."""

    task: str
    doc_id: int
    key: str
    prompt: str
    """The question as the task worded it."""
    generation: Generation
    media: str | None = None
    """Hash of the pictures or the video it showed."""


@dataclass(frozen=True)
class RejectedLine:
    """A line that can't be trusted."""

    number: int
    """1-based, in the journal as it was found."""
    reason: str
    raw: str


def encode(record: Record) -> bytes:
    """One journal line, newline included. ASCII only, so that no text of a model can break it."""
    fields = {**vars(record.generation), **vars(record)}  # not asdict, whose deep copies take half of the loop's time
    del fields["generation"]
    if record.generation.trace is not None:
        fields["trace"] = [asdict(step) for step in record.generation.trace]
    if record.generation.error is not None:  # words of servers and libraries, which may repeat a key
        fields["error"] = redact(record.generation.error)
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
        identity["media"] = fields.pop("media", None)  # older runs have none
        fields["token_ids"] = tuple(fields["token_ids"])
        if fields["trace"] is not None:
            fields["trace"] = tuple(_trace_step(step) for step in fields["trace"])
        record = Record(**identity, generation=Generation(**fields))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the record has other fields than this version writes ({one_line(error)})") from error
    _check(record)
    return record


def _check(record: Record) -> None:
    """Raises ValueError for values that no run writes; what is trusted later is checked here."""
    generation = record.generation
    texts = (record.task, record.key, record.prompt, generation.text)
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(text, str | None) for text in (generation.error, generation.served_model, record.media)
    ):
        raise ValueError("a text of the record is no text")
    numbers = (record.doc_id, generation.forward_passes, *generation.token_ids)
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise ValueError("a number of the record is no whole number")
    if not 0 <= record.doc_id < MOST_ROWS:
        raise ValueError(f"doc_id {record.doc_id} is no row's number")
    if generation.status not in ("ok", "failed") or not isinstance(generation.seconds, int | float):
        raise ValueError("status or seconds of the record are none")


def _trace_step(step: dict[str, Any]) -> TraceStep:
    for name in ("positions", "token_ids", "confidences"):
        step[name] = tuple(step[name])
    return TraceStep(**step)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_SUM_LENGTH].encode()


class _Index:
    """Where the answers of one task lie, under which keys, and of which kind, by row."""

    def __init__(self) -> None:
        self.offsets = array("q")
        self.keys = bytearray()
        self.flags = bytearray()
        self.count = 0

    def put(self, record: Record, offset: int) -> None:
        """Note an answer; it takes the place of an earlier one."""
        row, generation = record.doc_id, record.generation
        missing = row + 1 - len(self.flags)
        if missing > 0:
            self.offsets.frombytes(bytes(self.offsets.itemsize * missing))
            self.keys += bytes(_KEY_LENGTH * missing)
            self.flags += bytes(missing)
        self.count += not self.flags[row]
        self.offsets[row] = offset
        self.keys[row * _KEY_LENGTH : (row + 1) * _KEY_LENGTH] = _short(record.key)
        self.flags[row] = (
            _PRESENT | _FAILED * (generation.status == "failed") | _TRACED * (generation.trace is not None)
        )

    def flags_of(self, row: int) -> int:
        """0 where there is no answer."""
        return self.flags[row] if 0 <= row < len(self.flags) else 0

    def has_key(self, row: int, key: str) -> bool:
        return self.keys[row * _KEY_LENGTH : (row + 1) * _KEY_LENGTH] == _short(key)


def _short(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_KEY_LENGTH).digest()


class Journal:
    """Append-only store of answers. Only the holder of the run directory's lock may open it."""

    def __init__(self, path: Path) -> None:
        """Read and, where needed, repair the journal at ``path``; a missing file is an empty journal.

        Raises EnvironmentError_ when it can't be read or repaired; nothing is lost then.
        """
        self.path = path
        self.rejected_path = path.with_name("journal.rejected.jsonl")
        self._tasks: dict[str, _Index] = {}
        try:
            self.rejected = self._load()
            self._end = path.stat().st_size if path.exists() else 0
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise self._refused(error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)

    def __len__(self) -> int:
        return sum(index.count for index in self._tasks.values())

    def _refused(self, error: OSError) -> EnvironmentError_:
        reason = error.strerror or one_line(error)
        return EnvironmentError_(
            f"the journal {self.path} can't be written ({reason}): make room or allow writing, then resume"
        )

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
            self._tasks.clear()
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
        if record.task not in self._tasks:
            self._tasks[record.task] = _Index()
        self._tasks[record.task].put(record, offset)

    def _flags(self, task: str, doc_id: int) -> int:
        index = self._tasks.get(task)
        return 0 if index is None else index.flags_of(doc_id)

    def holds(self, task: str, doc_id: int, key: str, traced: bool = False, retry_failed: bool = False) -> bool:
        """Whether the sample needs no new answer."""
        flags = self._flags(task, doc_id)
        if not flags or not self._tasks[task].has_key(doc_id, key):
            return False
        if flags & _FAILED:
            return not retry_failed
        return bool(flags & _TRACED) or not traced

    def failed(self, task: str, doc_id: int) -> bool:
        """Whether the sample's answer is a failure. Raises KeyError if there is none."""
        flags = self._flags(task, doc_id)
        if not flags:
            raise KeyError((task, doc_id))
        return bool(flags & _FAILED)

    def append(self, records: Sequence[Record]) -> None:
        """Write a batch and force it to disk, or leave the file as it was.

        Raises EnvironmentError_ when the disk refuses.
        """
        lines = [encode(record) for record in records]
        data = memoryview(b"".join(lines))
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # what can't be cut off is found and set aside by the next session
                os.ftruncate(self._file, self._end)
            raise self._refused(error) from error
        for record, line in zip(records, lines, strict=True):
            self._index(record, self._end)
            self._end += len(line)

    def read(self, task: str, doc_ids: Iterable[int]) -> Iterator[Record]:
        """The answers of the given samples, in the given order.

        Raises KeyError for a sample without one, EnvironmentError_ for a line that was whole and no longer is.
        """
        with self.path.open("rb") as file:
            for doc_id in doc_ids:
                if not self._flags(task, doc_id):
                    raise KeyError((task, doc_id))
                file.seek(self._tasks[task].offsets[doc_id])
                try:
                    yield decode(file.readline())
                except ValueError as error:
                    raise EnvironmentError_(
                        f"the journal {self.path} changed on the disk ({task}, doc_id {doc_id}: {error}); run again"
                    ) from error
