"""Writing a split, with the media it names, as a local folder for ``--data``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lladav_eval.data.archive import unpack
from lladav_eval.data.layout import Split
from lladav_eval.data.lock import Entry, pin, update_lock
from lladav_eval.data.table import Table
from lladav_eval.errors import EnvironmentError_, TaskError, UsageError


def export_split(split: Split, table: Table, out: Path, text_only: bool = False) -> Path:
    """Write one file, out/<dataset_path>/[<dataset_name>/]<split>.parquet or .jsonl, and pin its revision there.

    Args:
        text_only: leave media columns out; enough for scoring.

    Raises:
        UsageError: the file is there already, or ``out`` is where the table itself lies.
        TaskError: shards that can't be written as one: a column is of numbers in one of them and of text in another.
        EnvironmentError_: it can't be written.
    """
    is_parquet = table.files[0].suffix == ".parquet"
    target = out / split.folder / (split.split + (".parquet" if is_parquet else ".jsonl"))
    for path in (target.with_suffix(".parquet"), target.with_suffix(".jsonl")):
        if path.exists():
            raise UsageError(f"{path} is there already: remove it, or choose another --out")
    part = target.with_name(target.name + ".part")
    columns = list(table.text_columns if text_only else table.columns)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_parquet:
            _write_parquet(table, columns, part)
        else:
            _write_lines(table, columns, part)
        if not text_only:
            _copy_named_media(table, split, out)
        os.replace(part, target)
    except OSError as error:
        raise EnvironmentError_(
            f"{target} can't be written ({error.strerror or error}): make room or allow it"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    update_lock(out, {split.name: Entry(table.revision, (pin(out, target),))})
    return target


def export_media(entry: Entry, split: Split, root: Path, out: Path) -> int:
    """Unpack or copy the media files that a split's lock entry names. Returns how many files were new."""
    count = 0
    for file in entry.media:
        if file.path.endswith(".zip"):
            count += unpack(root / file.path, out / split.dataset)
        else:
            count += _copy(root / file.path, out / file.path)
    return count


def _write_parquet(table: Table, columns: list[str], part: Path) -> None:
    """All shards into one file, a small batch at a time; metadata that all of it is true of stay."""
    schema = _common_schema(table.files, columns)
    with pq.ParquetWriter(part, schema) as writer:
        for path in table.files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(64, columns=columns, use_threads=False):
                    writer.write_batch(_converted(batch, schema, path), row_group_size=64)


def _common_schema(files: Sequence[Path], columns: list[str]) -> pa.Schema:
    """Types that hold what every shard has. Raises TaskError, naming file and column, where there are none."""
    first = pq.read_schema(files[0])
    common = pa.schema([first.field(column) for column in columns], first.metadata)
    for path in files[1:]:
        schema, fields = pq.read_schema(path), []
        for field in common:
            pair = [pa.schema([field]), pa.schema([schema.field(field.name)])]
            try:
                fields += pa.unify_schemas(pair, promote_options="permissive")
            except pa.ArrowException:
                raise _mixed(path, field.name, pair[1].field(0).type, field.type) from None
        common = pa.schema(fields, common.metadata if common.equals(pa.schema(fields)) else None)
    return common


def _converted(batch: pa.RecordBatch, schema: pa.Schema, path: Path) -> pa.RecordBatch:
    """The batch in the common types. Raises TaskError if a value would be read as another one, as 7 becomes 7.0."""
    arrays = []
    for field in schema:
        array = batch.column(field.name)
        if array.type != field.type:
            try:
                converted = array.cast(field.type)
            except pa.ArrowException:
                raise _mixed(path, field.name, array.type, field.type) from None
            if repr(converted.to_pylist()) != repr(array.to_pylist()):
                raise _mixed(path, field.name, array.type, field.type)
            array = converted
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _mixed(path: Path, column: str, found: pa.DataType, wanted: pa.DataType) -> TaskError:
    return TaskError(
        f"{path}: the column {column!r} is of type {found}, which can't be joined unchanged with {wanted} "
        "of the split's other files: write all of them with one type"
    )


def _write_lines(table: Table, columns: list[str], part: Path) -> None:
    with part.open("w", encoding="ascii", newline="\n") as file:  # half of a surrogate pair has no UTF-8
        for row in table.raw_rows():
            kept = {column: row[column] for column in columns if column in row}
            file.write(json.dumps(kept) + "\n")


def _copy_named_media(table: Table, split: Split, out: Path) -> None:
    """Files that cells name by {"path": ...}, under the names in the cells, at the same place relative to the table."""
    base = table.files[0].parent
    for path in table.media_files():
        if path.is_relative_to(base):
            _copy(path, out / split.folder / path.relative_to(base))
        else:
            _copy(path, out / path.relative_to(table.root))


def _copy(source: Path, target: Path) -> bool:
    """Copy a file unless it is there with the same size; it appears under its name only when complete."""
    if not source.is_file():
        raise UsageError(f"the media file {source} is missing: fetch it, or leave media out with --text-only")
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return False
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, part)
    os.replace(part, target)
    return True
