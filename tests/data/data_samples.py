"""Small tables in the layouts that the data room reads."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [("question", pa.string()), ("answer", pa.int64()), ("options", pa.list_(pa.string())), ("image", IMAGE)]
)


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows with text, a number, a list and an image."""
    return [
        {
            "question": f"What is {index}? \u00e9",
            "answer": index,
            "options": ["a", f"b{index}"],
            "image": {"bytes": f"pixels {index}".encode() * 20, "path": f"{index}.png"},
        }
        for index in range(start, start + count)
    ]


def text(row: dict[str, Any]) -> dict[str, Any]:
    """The row without its image."""
    return {key: value for key, value in row.items() if key != "image"}


def parquet_bytes(values: Sequence[dict[str, Any]], group: int = 4) -> bytes:
    """A parquet file of such rows, in small row groups."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(values), schema=SCHEMA), buffer, row_group_size=group)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def lines(values: Sequence[Any]) -> bytes:
    """JSON lines."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)
