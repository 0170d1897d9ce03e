"""Files of recorded answers as records: JSON lines, JSON, and tables (.xlsx, .tsv, .csv). What is wrong is one line."""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lladav_eval.errors import UsageError, one_line
from lladav_eval.recorded import Record, object_of, read_lines

TABLES = (".xlsx", ".tsv", ".csv")
MOST_BYTES = 1 << 30
"""What a spreadsheet may unpack to; a small file can hold terabytes of the same cell."""
KEY = "(key)"
"""Under which a record holds what named it in a JSON object of texts, such as MMMU's {"validation_Art_1": "B"}."""


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """(file and place for errors, record) of every answer.

    Raises:
        UsageError: the file can't be read, is cut off, or holds something else.
    """
    read = dict(zip(TABLES, (_spreadsheet, _separated, _separated), strict=True)) | {".json": _json}
    try:
        yield from read.get(path.suffix.lower(), _lines)(path)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None


def cell(value: Any) -> str:
    """A cell as text: spreadsheets turn "5" into a number, and nothing into an empty cell (pandas: into NaN)."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _lines(path: Path) -> Iterator[tuple[str, Record]]:
    with path.open("rb") as file:
        yield from read_lines(file, path)


def _json(path: Path) -> Iterator[tuple[str, Record]]:
    """One list of objects, one object of texts or of objects, or lmms-eval's older logs; JSON lines too."""
    try:
        content = json.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        yield from _lines(path)
        return
    if isinstance(content, dict):
        if isinstance(content.get("logs"), list):
            content = content["logs"]
        elif content and all(isinstance(value, str) for value in content.values()):
            content = [{KEY: key, "prediction": value} for key, value in content.items()]
        elif content and all(isinstance(value, dict) for value in content.values()):
            content = list(content.values())
        else:
            content = [content]
    for number, item in enumerate(content if isinstance(content, list) else [content], 1):
        where = f"{path}, answer {number}"
        record = object_of(item, where)
        asked = record.get("questions")  # Video-MME: an object for each video
        for question in asked if isinstance(asked, list) else [record]:
            yield where, object_of(question, where)


def _separated(path: Path) -> Iterator[tuple[str, Record]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # an answer may be long
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            _check_header(path, rows.fieldnames or ())
            for number, row in enumerate(rows, 2):
                if None in row or None in row.values():
                    raise UsageError(f"{path}, row {number} has another number of cells than the first row")
                yield f"{path}, row {number}", row
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read as a table: {one_line(error)}") from None


def _check_header(path: Path, header: Any) -> None:
    if "prediction" not in header or "doc_id" in header:  # cells are text, and a doc_id is a number
        raise UsageError(
            f"{path}: the first row must name the columns 'index' and 'prediction', not {list(header)!r:.200}"
        )


def _spreadsheet(path: Path) -> Iterator[tuple[str, Record]]:
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(member.file_size for member in file.infolist())
            if size > MOST_BYTES:
                raise ValueError(f"it unpacks to {size:,} bytes, more than {MOST_BYTES:,}: give JSON lines instead")
            # Whoever writes formulas without calculating them says so; openpyxl reads it as true where it isn't there.
            books = [file.read(name) for name in file.namelist() if name.endswith("workbook.xml")]
        calculated = not any(b'fullCalcOnLoad="1"' in book for book in books)
        rows, texts = _cells(path, values=True), _cells(path, values=False)
    except OSError:
        raise
    except Exception as error:  # a damaged table fails in many ways inside openpyxl and zipfile
        raise UsageError(f"{path} can't be read as a table: {one_line(error)}") from None
    header = list(rows[0]) if rows else []
    _check_header(path, header)
    for number, (cells, written) in enumerate(zip(rows[1:], texts[1:], strict=True), 2):
        where = f"{path}, row {number}"
        if all(value is None for value in cells):
            continue
        record = dict(zip(header, map(cell, cells), strict=False))
        place = header.index("prediction")
        yield where, record | {"prediction": _said(written[place], cells[place], calculated, where)}


def _cells(path: Path, values: bool) -> list[tuple[Any, ...]]:
    """The first sheet's rows, formulas as their ``values`` or as written."""
    import openpyxl  # slow to import
    from openpyxl.utils.escape import unescape

    book = openpyxl.load_workbook(path, read_only=True, data_only=values)
    # The format writes a carriage return as "_x000D_" (ECMA-376, ST_Xstring), which openpyxl leaves.
    rows = [
        tuple(unescape(value) if isinstance(value, str) else value for value in row)
        for row in book.worksheets[0].iter_rows(values_only=True)
    ]
    book.close()
    return rows


def _said(text: Any, value: Any, calculated: bool, where: str) -> str:
    """An answer. One that begins with "=" was written as a formula, with no value or one that stands in for it (0).

    Raises UsageError for formulas that a spreadsheet program has calculated: the answer may be either.
    """
    if text != value and (not isinstance(text, str) or (calculated and value is not None)):
        raise UsageError(
            f"{where}: the prediction is a formula with the value {cell(value)!r:.40}, so it can't be told what the "
            "model said: give JSON lines with doc_id"
        )
    return cell(text)
