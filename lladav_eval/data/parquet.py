"""Rows of parquet files: opened by their footers alone, read by column and in small batches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lladav_eval.errors import TaskError, one_line

TEXT_BATCH = 1024
MEDIA_BATCH = 16
"""Rows decoded at once; media rows can be several MB each."""


class ParquetRows:
    """The shards of one split, one after the other.

    Raises:
        TaskError: naming the file, if it is not parquet, cut off, or its columns differ from the first shard's.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.columns: tuple[str, ...] = ()
        self.text_columns: tuple[str, ...] = ()
        self._groups: list[tuple[Path, int, int]] = []  # (file, row group, rows of the file before it)
        self._starts: list[int] = []
        self._count = 0
        self._cursor: _Cursor | None = None
        self._lock = Lock()
        for path in self.paths:
            self._add(path)

    def _add(self, path: Path) -> None:
        try:
            self._add_open(path)
        except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
            raise TaskError(f"{path}: its footer is damaged ({one_line(error)}); get the file again") from None

    def _add_open(self, path: Path) -> None:
        with _open(path) as file:
            schema = file.schema_arrow
            if not self._groups and not self.columns:
                self.columns = self.text_columns = tuple(schema.names)
            elif set(schema.names) != set(self.columns):
                odd = sorted(set(schema.names) ^ set(self.columns))
                raise TaskError(f"{path} has other columns than {self.paths[0].name}: {', '.join(odd)}; get them again")
            media = {field.name for field in schema if _is_media_type(field.type)}
            self.text_columns = tuple(column for column in self.text_columns if column not in media)
            before = 0
            for group in range(file.num_row_groups):
                self._groups.append((path, group, before))
                self._starts.append(self._count)
                rows = file.metadata.row_group(group).num_rows
                before += rows
                self._count += rows

    def __len__(self) -> int:
        return self._count

    def where(self, index: int) -> str:
        """File and row, for errors."""
        place = bisect_right(self._starts, index) - 1
        path, _, before = self._groups[place]
        inner = before + index - self._starts[place]
        return f"{path}, row {index}" + (f" ({inner} of this file)" if inner != index else "")

    def read(self, index: int, columns: Sequence[str] | None) -> dict[str, Any]:
        """One row. Reading on from the row before costs no more than iterating."""
        wanted = tuple(self.columns if columns is None else columns)
        group = bisect_right(self._starts, index) - 1
        with self._lock:
            cursor, self._cursor = self._cursor, None  # lost if reading fails
            if cursor is None or cursor.key != (group, wanted) or index < cursor.start:
                cursor = _Cursor((group, wanted), self._starts[group], self._batches(group, wanted))
            while index >= cursor.start + len(cursor.rows):
                if not cursor.advance():
                    raise TaskError(f"{self.where(index)} is missing, though the footer counts it; get the file again")
            self._cursor = cursor
            return dict(cursor.rows[index - cursor.start])

    def iterate(self, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        """All rows in order."""
        wanted = tuple(self.columns if columns is None else columns)
        for group, start in enumerate(self._starts):
            given = 0
            for rows in self._batches(group, wanted):
                given += len(rows)
                yield from rows
            counted = (self._starts[group + 1] if group + 1 < len(self._starts) else self._count) - start
            if given != counted:
                path = self._groups[group][0]
                raise TaskError(f"{path} has {given} rows where its footer counts {counted}; get the file again")

    def _batches(self, group: int, columns: tuple[str, ...]) -> Iterator[list[dict[str, Any]]]:
        path, inner, _ = self._groups[group]
        size = TEXT_BATCH if set(columns) <= set(self.text_columns) else MEDIA_BATCH
        with _open(path) as file:
            if not columns:
                yield [{} for _ in range(file.metadata.row_group(inner).num_rows)]
                return
            try:
                for batch in file.iter_batches(size, row_groups=[inner], columns=list(columns), use_threads=False):
                    yield [{column: row[column] for column in columns} for row in batch.to_pylist()]
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                first, reason = self._starts[group], one_line(error)
                raise TaskError(f"{path}: rows from {first} on can't be read ({reason}); get the file again") from None


class _Cursor:
    """Where the last row was read, so that the next one needn't start over."""

    def __init__(self, key: tuple[int, tuple[str, ...]], start: int, batches: Iterator[list[dict[str, Any]]]) -> None:
        self.key = key
        self.start = start
        self.rows: list[dict[str, Any]] = []
        self._batches = batches

    def advance(self) -> bool:
        """Go on to the next batch; False where there is none."""
        self.start += len(self.rows)
        self.rows = next(self._batches, [])
        return bool(self.rows)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=False, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise TaskError(f"{path} can't be read ({error.strerror})") from error
        if path.is_file() and path.stat().st_size == 0:
            raise TaskError(f"{path} is empty (0 bytes); get the file again") from None
        raise TaskError(f"{path} is not a parquet file, or is cut off; get the file again") from None


def _is_media_type(kind: pa.DataType) -> bool:
    """Raw bytes, structs with "bytes" or "path" as the hub has them, and lists of them; however Arrow keeps them."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        fields = [kind.field(index) for index in range(kind.num_fields)]
        return any(field.name in ("bytes", "path") or _is_media_type(field.type) for field in fields)
    inner = getattr(kind, "value_type", None)  # of lists and dictionaries
    return "binary" in str(kind) if inner is None else _is_media_type(inner)
