"""Rows of a JSON-lines file (or of a JSON file that is one list, as some data sets on the hub have)."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lladav_eval.data.cells import is_media
from lladav_eval.errors import TaskError


class JsonRows:
    """Every line is read once at the start, to find errors early; afterwards a row is read when it is asked for.

    Raises:
        TaskError: naming file and line, if the file can't be read, ends in the middle of a line, or holds anything but
            one JSON object a line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._list: list[dict[str, Any]] | None = None
        self._starts = array("q")
        columns: dict[str, bool] = {}
        try:
            for row in self._scan():
                for column, value in row.items():
                    columns[column] = columns.get(column, False) or is_media(value)
        except OSError as error:
            raise TaskError(f"{path} can't be read ({error.strerror})") from error
        self.columns = tuple(columns)
        self.text_columns = tuple(column for column, media in columns.items() if not media)

    def __len__(self) -> int:
        return len(self._starts) if self._list is None else len(self._list)

    def where(self, index: int) -> str:
        """File and row, for errors."""
        return f"{self.path}, row {index}" + ("" if self._list is not None else f" (line {index + 1})")

    def read(self, index: int, columns: Sequence[str] | None) -> dict[str, Any]:
        """One row, with all its keys or the given ones: a key that it lacks is None, as ``datasets`` has it."""
        if self._list is not None:
            return _project(self._list[index], columns)
        with self.path.open("rb") as file:
            file.seek(self._starts[index])
            return _project(json.loads(file.readline()), columns)

    def iterate(self, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        """All rows in order."""
        if self._list is not None:
            yield from (_project(row, columns) for row in self._list)
            return
        with self.path.open("rb") as file:
            file.seek(self._starts[0] if self._starts else 0)
            for _ in self._starts:
                yield _project(json.loads(file.readline()), columns)

    def _scan(self) -> Iterator[dict[str, Any]]:
        if self.path.suffix == ".json":
            self._list = self._read_list()
            yield from self._list
            return
        with self.path.open("rb") as file:
            start = 3 if file.read(3) == b"\xef\xbb\xbf" else 0  # a byte order mark
            file.seek(start)
            for line in file:
                row = self._parse(line, f"{self.path}, line {len(self._starts) + 1}")
                self._starts.append(start)
                start += len(line)
                yield row

    def _parse(self, line: bytes, where: str) -> dict[str, Any]:
        if not line.strip():
            raise TaskError(f"{where} is empty: remove it, one JSON object a line is wanted")
        try:
            row = json.loads(line)
        except ValueError as error:  # UnicodeDecodeError is one too
            if not line.endswith(b"\n"):
                raise TaskError(f"{where}: the file ends in the middle of this line; get it again") from None
            raise TaskError(f"{where} is not JSON ({error})") from None
        except RecursionError:
            raise TaskError(f"{where} is not a row: it is nested too deeply") from None
        if not isinstance(row, dict):
            raise TaskError(f"{where} is not a JSON object but {type(row).__name__}")
        return row

    def _read_list(self) -> list[dict[str, Any]]:
        try:
            rows = json.loads(self.path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{self.path} is not JSON ({error}); get it again") from None
        if not isinstance(rows, list):
            raise TaskError(f"{self.path} must be a list of rows, not {type(rows).__name__}")
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise TaskError(f"{self.path}, row {index} is not a JSON object but {type(row).__name__}")
        return rows


def _project(row: dict[str, Any], columns: Sequence[str] | None) -> dict[str, Any]:
    return dict(row) if columns is None else {column: row.get(column) for column in columns}
