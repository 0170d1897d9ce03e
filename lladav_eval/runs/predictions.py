"""Recorded answers from files: our JSON lines, a run's samples, lmms-eval's samples, VLMEvalKit's tables.

Every row of the split must have exactly one answer, and every answer a row. What is wrong is one line with file and
place.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lladav_eval.errors import UsageError, one_line

T = TypeVar("T")
MOST_BYTES = 1 << 30
"""What a spreadsheet may unpack to; a small file can hold terabytes of the same cell."""
SHOWN = 5
"""How many ids an error names."""


def read_predictions(
    path: Path,
    count: int,
    indices: Sequence[Any] | None = None,
    questions: Sequence[Any] | None = None,
    task: str | None = None,
) -> list[str | None]:
    """The answers in row order; None for a sample that failed in its run.

    Args:
        path: ``{"doc_id": row, "prediction": text}`` a line, or the ``samples.jsonl`` of a run, or lmms-eval's
            ``*_samples_*.jsonl`` (the raw response, before its filters), or VLMEvalKit's ``.xlsx`` with the columns
            ``index`` and ``prediction``.
        count: rows of the split.
        indices: the split's own ``index`` column, by which VLMEvalKit names rows where there is one.
        questions: the split's ``question`` column, with which a table's own is compared where there is one.
        task: of a run's samples only those of this task count.

    Raises:
        UsageError: the file can't be read or is cut off, an answer is no text, an id is missing, doubled or unknown,
            or an answer stands beside the question of another row.
    """
    if is_table(path):
        return _in_order(_table(path, indices, questions), count, path)
    lines = (found for found in _lines(path) if not is_sample(found[2]) or found[2]["task"] == task)
    return _in_order(((where, row, _answer(line, where)) for where, row, line in lines), count, path)


def is_sample(line: Mapping[str, Any]) -> bool:
    """Whether a line is one of a run's samples.jsonl."""
    return "prediction" not in line and {"task", "key", "text", "status"} <= line.keys()


def is_of_run(path: Path) -> bool:
    """Whether the file is a run's samples.jsonl, whose texts are what the model said, never what a judge extracted."""
    first = None if is_table(path) else next(_lines(path), None)
    return first is not None and is_sample(first[2])


def is_table(path: Path) -> bool:
    """Whether the file is one of VLMEvalKit's tables."""
    return path.suffix.lower() == ".xlsx"


def read_replies(path: Path, count: int, task: str | None = None) -> dict[int, tuple[str, ...]]:
    """What a judge said, by row; rows without replies are left out.

    Args:
        path: ``{"doc_id": row, "replies": [text, ...]}`` a line, or the ``samples.jsonl`` of a run.
        task: of a run's samples only those of this task count.

    Raises:
        UsageError: as ``read_predictions``, except that rows may be missing.
    """
    found: dict[int, tuple[str, ...]] = {}
    for where, row, line in _lines(path):
        if is_sample(line) and line["task"] != task:
            continue
        name = "judge_replies" if is_sample(line) else "replies"
        replies = line.get(name, [] if is_sample(line) else None)
        if not isinstance(replies, list) or not all(isinstance(reply, str) for reply in replies):
            raise UsageError(f"{where}: {name!r} must be a list of texts")
        if row in found:
            raise UsageError(f"{where}: doc_id {row} is there twice")
        if not 0 <= row < count:
            raise UsageError(f"{where}: doc_id {row} is unknown, the split has rows 0 to {count - 1}")
        found[row] = tuple(replies)
    return found


def _in_order(answers: Iterator[tuple[str, int, T]], count: int, path: Path) -> list[T]:
    found: dict[int, T] = {}
    for where, row, answer in answers:
        if row in found:
            raise UsageError(f"{where}: doc_id {row} is there twice")
        if not 0 <= row < count:
            raise UsageError(f"{where}: doc_id {row} is unknown, the split has rows 0 to {count - 1}")
        found[row] = answer
    missing = [row for row in range(count) if row not in found]
    if missing:
        named = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise UsageError(f"{path}: {len(missing)} of {count} rows have no prediction: doc_id {named}")
    return [found[row] for row in range(count)]


def _lines(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """(file and line for errors, row, object) of every line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                where = f"{path}, line {number}"
                content = _object(line, where)
                row = content.get("doc_id")
                if isinstance(row, bool) or not isinstance(row, int):
                    raise UsageError(f"{where}: 'doc_id' must be a whole number, not {row!r:.40}")
                yield where, row, content
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None


def _object(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        content = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        cut = "" if line.endswith(b"\n") else " (the file is cut off in the middle of it)"
        raise UsageError(f"{where} is no JSON object{cut}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{where} is no JSON object but {type(content).__name__}")
    return content


def _answer(line: Mapping[str, Any], where: str) -> str | None:
    """The answer of one line: ``prediction``, a sample's ``text``, else lmms-eval's ``resps`` or ``filtered_resps``."""
    if is_sample(line) and line["status"] == "failed":
        return None
    for key in ("prediction", *(("text",) if is_sample(line) else ()), "resps", "filtered_resps"):
        if key in line:
            answer = line[key]
            while isinstance(answer, list) and key.endswith("resps") and len(answer) == 1:
                answer = answer[0]
            if not isinstance(answer, str):
                raise UsageError(f"{where}: {key!r} must be one text, not {json.dumps(answer)[:60]}")
            return answer
    raise UsageError(f"{where} has no 'prediction' (nor lmms-eval's 'resps'); it has: {', '.join(line) or 'nothing'}")


def _table(
    path: Path, indices: Sequence[Any] | None, questions: Sequence[Any] | None
) -> Iterator[tuple[str, int, str]]:
    """The rows of VLMEvalKit's table."""
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(member.file_size for member in file.infolist())
            if size > MOST_BYTES:
                raise ValueError(f"it unpacks to {size:,} bytes, more than {MOST_BYTES:,}: give JSON lines instead")
            # Whoever writes formulas without calculating them says so; openpyxl reads it as true where it isn't there.
            books = [file.read(name) for name in file.namelist() if name.endswith("workbook.xml")]
        calculated = not any(b'fullCalcOnLoad="1"' in book for book in books)
        rows, texts = _cells(path, values=True), _cells(path, values=False)
    except Exception as error:  # a damaged table fails in many ways inside openpyxl and zipfile
        raise UsageError(f"{path} can't be read as a table: {one_line(error)}") from None
    header = list(rows[0]) if rows else []
    if "index" not in header or "prediction" not in header:
        raise UsageError(f"{path}: the first row must name the columns 'index' and 'prediction', not {header!r:.200}")
    index, prediction = header.index("index"), header.index("prediction")
    asked = header.index("question") if "question" in header else None
    place, known = _places(indices), [_words(question) for question in questions or ()]
    rows_of = {question: row for row, question in enumerate(known)}
    for number, (cells, written) in enumerate(zip(rows[1:], texts[1:], strict=True), 2):
        where = f"{path}, row {number}"
        if all(cell is None for cell in cells):
            continue
        row = place(cells[index], where)
        if asked is not None and row < len(known):
            question = _words(cells[asked])
            # Other wording is no sign of anything, the question of another row is.
            if question != known[row] and question in rows_of:
                raise UsageError(
                    f"{where}: index {_cell(cells[index])} is row {row} of the split, but its question is that of row "
                    f"{rows_of[question]}: the table counts rows in another order; give JSON lines with doc_id"
                )
        yield where, row, _said(written[prediction], cells[prediction], calculated, where)


def _cells(path: Path, values: bool) -> list[tuple[Any, ...]]:
    """The first sheet's rows, formulas as their ``values`` or as written."""
    import openpyxl  # slow to import

    book = openpyxl.load_workbook(path, read_only=True, data_only=values)
    rows = list(book.worksheets[0].iter_rows(values_only=True))
    book.close()
    return rows


def _said(text: Any, value: Any, calculated: bool, where: str) -> str:
    """An answer. One that begins with "=" was written as a formula, with no value or one that stands in for it (0).

    Raises UsageError for formulas that a spreadsheet program has calculated: the answer may be either.
    """
    if text != value and (not isinstance(text, str) or (calculated and value is not None)):
        raise UsageError(
            f"{where}: the prediction is a formula with the value {_cell(value)!r:.40}, so it can't be told what the "
            "model said: give JSON lines with doc_id"
        )
    return _cell(text)


def _words(question: Any) -> str:
    """A question without differences in white space and case."""
    return " ".join(_cell(question).split()).casefold()


def _cell(value: Any) -> str:
    """A cell as text: spreadsheets turn "5" into a number, and nothing into an empty cell."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _places(indices: Sequence[Any] | None) -> Callable[[Any, str], int]:
    """From VLMEvalKit's index to the row's position."""
    positions = None if indices is None else {str(index): row for row, index in enumerate(indices)}

    def place(index: Any, where: str) -> int:
        text = _cell(index)
        if positions is not None:
            if text not in positions:
                raise UsageError(f"{where}: index {text!r:.40} is unknown, no row of the split has it")
            return positions[text]
        if not text.isascii() or not text.isdigit():
            raise UsageError(f"{where}: 'index' must be a whole number, not {text!r:.40}")
        return int(text)

    return place
