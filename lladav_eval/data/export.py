"""Writing a split, with the media it names, as a local folder for ``--data``."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from lladav_eval.data.archive import unpack
from lladav_eval.data.layout import Split
from lladav_eval.data.lock import Entry, pin, update_lock
from lladav_eval.data.table import Table
from lladav_eval.errors import EnvironmentError_, UsageError


def export_split(split: Split, table: Table, out: Path, text_only: bool = False) -> Path:
    """Write one file, out/<dataset_path>/[<dataset_name>/]<split>.parquet or .jsonl, and pin its revision there.

    Args:
        text_only: leave media columns out; enough for scoring.

    Raises:
        UsageError: the file is there already, or ``out`` is where the table itself lies.
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
    """All shards into one file, a small batch at a time; the schema's own metadata stay."""
    writer: pq.ParquetWriter | None = None
    try:
        for path in table.files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(64, columns=columns, use_threads=False):
                    writer = writer or pq.ParquetWriter(part, batch.schema)
                    writer.write_batch(batch.cast(writer.schema), row_group_size=64)
    finally:
        if writer is not None:
            writer.close()


def _write_lines(table: Table, columns: list[str], part: Path) -> None:
    with part.open("w", encoding="utf-8", newline="\n") as file:
        for row in table.raw_rows():
            kept = {column: row[column] for column in columns if column in row}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")


def _copy_named_media(table: Table, split: Split, out: Path) -> None:
    """Files that cells name by {"path": ...}, at the same place relative to the table."""
    media = [column for column in table.columns if column not in table.text_columns]
    if not media:
        return
    base = table.files[0].parent
    for row in table.rows(media):
        for cell in row.values():
            for item in cell if isinstance(cell, list) else [cell]:
                if item is not None and "path" in item:
                    path = Path(item["path"])
                    inner = path.relative_to(base) if path.is_relative_to(base) else path.relative_to(table.root)
                    _copy(path, (out / split.folder if path.is_relative_to(base) else out) / inner)


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
