"""Recorded answers of a split's rows: our JSON lines, a run's samples, and what other tools and benchmarks write.

Every row of the split must have exactly one answer, and every answer a row. What is wrong is one line with file and
place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lladav_eval.errors import UsageError
from lladav_eval.recorded import ADVICE, Record, answer_of, doc_id_of, is_sample, text_of
from lladav_eval.runs.answer_files import KEY, TABLES, cell, read_records

Columns = Mapping[str, Sequence[Any]]
Placed = tuple[str, int, Record, str | None]
"""(file and place for errors, row, record, its answer)."""
SHOWN = 5
"""How many ids an error names."""
_KEYS: dict[str, tuple[str, ...]] = {
    "pid": ("extraction", "response", "prediction"),
    "questionId": ("prediction", "answer"),
}
"""What the answer is called in MathVista's results (their "prediction" is the extraction after its rule) and in what is
handed in for DocVQA, by the column that names rows there."""
_OTHER_KEYS = ("prediction", "response")
_OTHER_ORDER = (
    "the file counts rows in another order; score it on its own rows, or give JSON lines with these rows' doc_id"
)


def read_predictions(
    path: Path,
    count: int,
    columns: Columns | None = None,
    *,
    task: str | None = None,
    named: str = KEY,
    split: str | None = None,
) -> list[str | None]:
    """The answers in row order; None for a sample that failed in its run.

    Args:
        path: ``{"doc_id": row, "prediction": text}`` a line; the ``samples.jsonl`` of a run; lmms-eval's
            ``*_samples_*.jsonl`` or its older JSON with "logs" (the raw response where it is there, not the filtered
            one); VLMEvalKit's tables with ``index`` and ``prediction`` (.xlsx, .tsv, .csv, .json); or records that name
            rows by the benchmark's own id.
        count: rows of the split.
        columns: the split's cells of those columns it has: ``index``, by which VLMEvalKit names rows; ``question`` and
            ``answer``, with which a file's own are compared; and the one ``named``.
        task: of a run's samples only those of this task count.
        named: the column with the benchmark's own id.
        split: where cells of a table's column ``split`` say it, the other rows are passed over.

    Raises:
        UsageError: the file can't be read or is cut off, an answer is no text, an id is missing, doubled or unknown,
            or answers stand beside the question or the right answer of another row.
    """
    columns = columns or {}
    records = read_records(path)
    first = next(records, None)
    if first is None:
        placed: Iterable[Placed] = ()
    elif "doc_id" not in first[1] and "index" in first[1]:
        placed = _by_index([first, *records], count, columns, named, split)
    elif "doc_id" not in first[1] and (KEY in first[1] or named in first[1]):
        placed = _by_name(chain((first,), records), columns, named)
    else:
        placed = _by_position(chain((first,), records), task)
    questions = [_question(text) for text in columns.get("question", ())]
    rows_of = {question: row for row, question in enumerate(questions)}
    found: dict[int, str | None] = {}
    golds: list[tuple[str, int, str]] = []
    for where, row, record, answer in placed:
        _check_row(row, found, count, where)
        found[row] = answer
        asked = _asked(record)
        # Other wording is no sign of anything, the question of another row is.
        if asked and asked in rows_of and asked != questions[row]:
            raise UsageError(
                f"{where}: it answers row {row} of the split, but its question is that of row {rows_of[asked]}: "
                + _OTHER_ORDER
            )
        # "answer" is the right one in tables only; elsewhere it may be what the model was understood to say.
        gold = record.get("answer" if "index" in record else "target")
        if isinstance(gold, (str, int, float)):
            golds.append((where, row, _words(gold)))
    missing = [row for row in range(count) if row not in found]
    if missing:
        shown = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise UsageError(f"{path}: {len(missing)} of {count} rows have no prediction: doc_id {shown}")
    _check_golds(golds, [_words(gold) for gold in columns.get("answer", ())])
    return [found[row] for row in range(count)]


def is_of_run(path: Path) -> bool:
    """Whether the file is a run's samples.jsonl, whose texts are what the model said, never what a judge extracted."""
    first = None if path.suffix.lower() in TABLES else next(read_records(path), None)
    return first is not None and is_sample(first[1])


def read_replies(path: Path, count: int, task: str | None = None) -> dict[int, tuple[str, ...]]:
    """What a judge said, by row; rows without replies are left out.

    Args:
        path: ``{"doc_id": row, "replies": [text, ...]}`` a line, or the ``samples.jsonl`` of a run.
        task: of a run's samples only those of this task count.

    Raises:
        UsageError: as ``read_predictions``, except that rows may be missing.
    """
    found: dict[int, tuple[str, ...]] = {}
    for where, line in read_records(path):
        row = doc_id_of(line, where)
        if is_sample(line) and line["task"] != task:
            continue
        name = "judge_replies" if is_sample(line) else "replies"
        replies = line.get(name, [] if is_sample(line) else None)
        if not isinstance(replies, list) or not all(isinstance(reply, str) for reply in replies):
            raise UsageError(f"{where}: {name!r} must be a list of texts")
        _check_row(row, found, count, where)
        found[row] = tuple(replies)
    return found


def _check_row(row: int, found: Mapping[int, object], count: int, where: str) -> None:
    if row in found:
        raise UsageError(f"{where}: doc_id {row} is there twice")
    if row >= count:
        raise UsageError(f"{where}: doc_id {row} is unknown, the split has rows 0 to {count - 1}")


def _check_golds(golds: Sequence[tuple[str, int, str]], known: Sequence[str]) -> None:
    """Raises UsageError where the right answers that a file brings along are the split's, but not those of its rows.

    A few differ where a benchmark was mended; and where the file writes them in another way, they say nothing.
    """
    said = [(where, row, gold) for where, row, gold in golds if row < len(known)]
    other = [found for found in said if found[2] != known[found[1]]]
    if len(other) > len(said) / 10 and {gold for _, _, gold in said} <= set(known):
        where, row, gold = other[0]
        raise UsageError(
            f"{where}: the right answer is said to be {gold!r:.40}, that of row {row} of the split is "
            f"{known[row]!r:.40} ({len(other)} of {len(said)} differ): " + _OTHER_ORDER
        )


def _by_position(records: Iterable[tuple[str, Record]], task: str | None) -> Iterator[Placed]:
    """Lines with the row's position."""
    for where, line in records:
        row = doc_id_of(line, where)
        if not is_sample(line) or line["task"] == task:
            yield where, row, line, answer_of(line, where)


def _by_name(records: Iterable[tuple[str, Record]], columns: Columns, named: str) -> Iterator[Placed]:
    """Records with the benchmark's own id. Rows of one id are the same question, so they have the same answer."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(columns.get(named, ())):
        rows.setdefault(cell(name), []).append(row)
    keys = _KEYS.get(named, _OTHER_KEYS)
    given = set()
    for where, record in records:
        name = cell(record.get(named, record.get(KEY)))
        if name in given:
            raise UsageError(f"{where}: {named} {name!r:.60} is there twice")
        given.add(name)
        if name not in rows:
            raise UsageError(f"{where}: {named} {name!r:.60} is unknown, no row of the split has it; {ADVICE}")
        key = next((key for key in keys if key in record), None)
        if key is None:
            raise UsageError(f"{where} has no {keys[0]!r}, it has: {', '.join(record):.200}; {ADVICE}")
        for row in rows[name]:
            yield where, row, record, text_of(record[key], key, where)


def _by_index(
    table: Sequence[tuple[str, Record]], count: int, columns: Columns, named: str, split: str | None
) -> Iterator[Placed]:
    """The rows of VLMEvalKit's table, whose ``index`` is the split's own where it has such a column.

    Else it is the row's position. Where it can't be, the table has the same questions in the same order (its ChartQA
    counts from 1, its MMMU goes on from another split), or the index is the benchmark's own id (SEED-Bench).
    """
    if any(record.get("split") == split for _, record in table):
        table = [(where, record) for where, record in table if record.get("split") == split]
    names = {cell(record.get("index")) for _, record in table}
    known = [_words(question) for question in columns.get("question", ())]
    places = {cell(index): row for row, index in enumerate(columns.get("index", range(count)))}
    if names != places.keys():
        if known and [_words(record.get("question")) for _, record in table] == known:
            places = {}
        elif names <= set(map(cell, columns.get(named, ()))):
            yield from _by_name(
                ((where, {**record, named: record["index"]}) for where, record in table), columns, named
            )
            return
    for number, (where, record) in enumerate(table):
        name = cell(record.get("index"))
        if places and name not in places:
            has = "no row of the split has it" if "index" in columns else f"the split has rows 0 to {count - 1}"
            raise UsageError(f"{where}: index {name!r:.40} is unknown, {has}")
        said = record.get("prediction")
        if isinstance(said, (list, dict, bool)) or "prediction" not in record:
            raise UsageError(f"{where}: 'prediction' must be one text, not {json.dumps(said)[:60]}")
        yield where, places.get(name, number), record, cell(said)


def _asked(record: Record) -> str:
    """The question that a table, lmms-eval's samples (``input`` is the prompt) or its older logs (``doc``) tell."""
    doc = record.get("doc")
    told = [record.get("question"), record.get("input"), doc.get("question") if isinstance(doc, dict) else None]
    return _question(next((text for text in told if isinstance(text, str)), ""))


def _question(text: Any) -> str:
    """What tells a question from others: its words up to the first "?", as prompts go on with options and advice."""
    question, mark, _ = _words(text).partition("?")
    return question + mark


def _words(text: Any) -> str:
    """A text without differences in white space and case."""
    return " ".join(cell(text).split()).casefold()
