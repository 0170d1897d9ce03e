"""One split as a table: text and numbers as Python values, media only where asked for and never decoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from lladav_eval.data.cells import is_media, named_files, resolve_media
from lladav_eval.data.jsonl import JsonRows
from lladav_eval.data.parquet import ParquetRows
from lladav_eval.errors import TaskError


class Rows(Protocol):
    """What a file format offers."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def text_columns(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def where(self, index: int) -> str: ...

    def read(self, index: int, columns: Sequence[str] | None) -> dict[str, Any]: ...

    def iterate(self, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]: ...


class Table:
    """One split of a data set.

    Args:
        name: "lmms-lab-encoder/ChartQA:test".
        files: the split's files in row order; all of one format.
        root: the data folder, which no media path may leave.
        revision: the hub's commit, if the files came from there.

    Raises:
        TaskError: naming file and row, if a file can't be read as what it should be or the split is empty.
    """

    def __init__(self, name: str, files: Sequence[Path], root: Path, revision: str | None = None) -> None:
        self.name = name
        self.files = tuple(file.parent.resolve() / file.name for file in files)
        self.root = root.resolve()
        self._revision = revision
        self._rows = _open_rows(name, self.files)
        self.columns = self._rows.columns
        """Names of all columns."""
        self.text_columns = self._rows.text_columns
        """Those without media: what scoring reads."""
        parents = [self.files[0].parent, *self.files[0].parent.parents]
        self._folders = [folder for folder in parents if folder.is_relative_to(self.root)]
        if not len(self._rows):
            raise TaskError(f"{self.files[0]}: the split {name} has no rows; get the file again")

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"Table({self.name}, {len(self)} rows, {len(self.columns)} columns)"

    @property
    def revision(self) -> str:
        """Hub commit, or "local:<digest of the text columns>"."""
        return self._revision or f"local:{self.digest}"

    @cached_property
    def digest(self) -> str:
        """Hash of all text and numbers, whatever the file format; media and empty cells don't count. 16 hex digits."""
        digest = hashlib.sha256()
        for row in self._rows.iterate(self._kept(self.text_columns)):
            kept = {column: value for column, value in row.items() if value is not None and not is_media(value)}
            digest.update(json.dumps(kept, sort_keys=True, default=str).encode() + b"\n")
        return digest.hexdigest()[:16]

    def where(self, index: int) -> str:
        """File and row, for errors: "…/test.jsonl, row 3 (line 4)"."""
        return self._rows.where(index)

    def row(self, index: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """One row as Python values; all that it has, or the given columns, None where a row of JSON lacks one.

        Media are {"bytes": ...}, {"path": absolute path of a file in the data folder} or None.

        Raises:
            IndexError: no such row.
            TaskError: no such column.
            MediaError: a media path that leaves the data folder.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has rows 0 to {len(self) - 1}, not {index}")
        self._check(columns)
        return self._finish(self._rows.read(index, columns), index)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """All rows in order, as ``row`` gives them. Pass ``text_columns``, or fewer, to leave media unread."""
        self._check(columns)
        for index, row in enumerate(self._rows.iterate(columns)):
            yield self._finish(row, index)

    def raw_rows(self) -> Iterator[dict[str, Any]]:
        """All rows as they stand in the file, media cells included."""
        return self._rows.iterate(None)

    def media_files(self) -> Iterator[Path]:
        """The files that cells name by {"path": ...}, in order, each where its cell names it; links are not followed.

        Raises:
            MediaError: a media path that leaves the data folder.
        """
        media = [column for column in self.columns if column not in self.text_columns]
        for index, row in enumerate(self._rows.iterate(self._kept(media)) if media else ()):
            for cell in filter(is_media, map(row.get, media)):
                yield from named_files(cell, self.root, self._folders, self._rows.where(index))

    def _kept(self, columns: Sequence[str]) -> Sequence[str] | None:
        """Columns to read; None, which is all, where a row may lack some of them."""
        return None if isinstance(self._rows, JsonRows) else columns

    def _check(self, columns: Sequence[str] | None) -> None:
        missing = [column for column in columns or () if column not in self.columns]
        if missing:
            raise TaskError(
                f"{self.files[0]} lacks the column{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))} "
                f"of {self.name}: it has {', '.join(self.columns)}"
            )

    def _finish(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        for column, value in row.items():
            if is_media(value):
                row[column] = resolve_media(value, self.root, self._folders, self._rows.where(index))
        return row


def _open_rows(name: str, files: Sequence[Path]) -> Rows:
    endings = {file.suffix for file in files}
    if endings == {".parquet"}:
        return ParquetRows(files)
    if len(files) == 1 and endings <= {".jsonl", ".json"}:
        return JsonRows(files[0])
    raise TaskError(f"{name}: can't read {', '.join(file.name for file in files)}: one .jsonl, or .parquet files only")
