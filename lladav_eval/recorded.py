"""What a line of recorded answers is: ours, a run's sample, or lmms-eval's; for `score` and `replay:`.

Whatever is wrong is one line with file and place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lladav_eval.errors import UsageError

Record = Mapping[str, Any]
ADVICE = 'wanted is {"doc_id": row, "prediction": text} a line; docs/scores.md, "Files of answers", has more'


def read_lines(lines: Iterable[bytes], path: Path) -> Iterator[tuple[str, Record]]:
    """(file and line for errors, object) of every line of a file that is open or was read.

    Raises:
        UsageError: for a line that is no JSON object, or is cut off.
    """
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            content = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
            cut = "" if line.endswith(b"\n") else " (the file is cut off in the middle of it)"
            raise UsageError(f"{where} is no JSON object{cut}; {ADVICE}") from None
        yield where, object_of(content, where)


def object_of(content: Any, where: str) -> Record:
    """The same, if it is a JSON object. Raises UsageError."""
    if not isinstance(content, dict):
        raise UsageError(f"{where} is no JSON object but {type(content).__name__}; {ADVICE}")
    return content


def doc_id_of(line: Record, where: str) -> int:
    """The row's position. Raises UsageError where ``doc_id`` is none."""
    row = line.get("doc_id")
    if isinstance(row, bool) or not isinstance(row, int) or row < 0:
        raise UsageError(f"{where}: 'doc_id' must be the row's position (0, 1, ...), not {row!r:.40}; {ADVICE}")
    return row


def is_sample(line: Record) -> bool:
    """Whether a line is one of a run's samples.jsonl."""
    return "prediction" not in line and {"task", "key", "text", "status"} <= line.keys()


def answer_of(line: Record, where: str) -> str | None:
    """The answer of one line: ``prediction``, a sample's ``text``, else lmms-eval's ``resps`` or ``filtered_resps``.

    None for a sample that failed in its run. Raises UsageError where there is none, or not one text.
    """
    if is_sample(line) and line["status"] == "failed":
        return None
    for key in ("prediction", *(("text",) if is_sample(line) else ()), "resps", "filtered_resps"):
        if key in line:
            answer = line[key]
            while isinstance(answer, list) and key.endswith("resps") and len(answer) == 1:
                answer = answer[0]
            return text_of(answer, key, where)
    raise UsageError(f"{where} has no 'prediction' (nor lmms-eval's 'resps'); it has: {', '.join(line) or 'nothing'}")


def text_of(answer: Any, key: str, where: str) -> str:
    """The same, if it is a text. Raises UsageError."""
    if not isinstance(answer, str):
        raise UsageError(f"{where}: {key!r} must be one text, not {json.dumps(answer)[:60]}")
    return answer
