"""Reading the text columns of a benchmark row, and the pieces every family's scorer shares.

A row that doesn't fit its benchmark raises TaskError with one line; the caller adds the file and the row.
"""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lladav_eval.errors import TaskError
from lladav_eval.records import Score

Row = Mapping[str, Any]
Protocol = Literal["official", "strict"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LISTED = re.compile(r"^\s*\(?([A-Z])[).:]\s*(\S.*)$", re.MULTILINE)


class Memory(dict[tuple[str, str, str, str], Score]):
    """Scores already decided, by (answer, group, text, protocol): few short texts are different in a large split."""

    SIZE = 4096
    LONGEST = 64

    def keep(self, key: tuple[str, str, str, str], score: Score) -> Score:
        """Remember the score of a short text while there is room; gives the score back."""
        if len(key[2]) <= self.LONGEST and len(self) < self.SIZE:
            self[key] = score
        return score


def text_of(row: Row, column: str) -> str:
    """The text of a cell; numbers become text. Raises TaskError if the column is missing or holds no text."""
    try:
        value = row[column]
    except KeyError:
        raise TaskError(f"the column {column!r} is missing; the row has {', '.join(map(str, row))}") from None
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return str(value)
    raise TaskError(f"the column {column!r} must be text, not {_kind(value)}")


def list_of(row: Row, column: str) -> list[str]:
    """The texts of a cell that holds a list, or (as MMMU's files do) a Python list written as text.

    Raises TaskError if the column is missing or is no such list.
    """
    try:
        value = row[column]
    except KeyError:
        raise TaskError(f"the column {column!r} is missing; the row has {', '.join(map(str, row))}") from None
    if isinstance(value, str):
        value = _literal(value, column)
    if not isinstance(value, (list, tuple)):
        raise TaskError(f"the column {column!r} must be a list, not {_kind(value)}")
    return [str(item) for item in value]


def _kind(value: Any) -> str:
    empty = value is None or (isinstance(value, float) and value != value)  # NaN is a table's empty cell
    return "empty" if empty else type(value).__name__


def _literal(text: str, column: str) -> Any:
    """A Python literal, read as data and never run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of "\\m" and the like inside formulas
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise TaskError(f"the column {column!r} doesn't parse as a list: {text[:80]!r}") from None


def lettered(contents: Sequence[str]) -> dict[str, str]:
    """``{"A": first, "B": second, ...}``. Raises TaskError for no option, or more than the alphabet has letters."""
    if not 0 < len(contents) <= len(LETTERS):
        raise TaskError(f"a question must have 1 to {len(LETTERS)} options, not {len(contents)}")
    return dict(zip(LETTERS, contents, strict=False))


def options_in(question: str, letters: str) -> dict[str, str] | None:
    """What the letters stand for where a question lists them itself, each on its line: ``A. x``, ``(A) x``, ``A: x``.

    None unless every one of ``letters`` is listed exactly once.

    >>> options_in("Where?\\n(A) here\\n(B) there", "AB")
    {'A': 'here', 'B': 'there'}
    """
    found = _LISTED.findall(question)
    listed = dict(found)
    if len(listed) != len(found) or set(listed) != set(letters):
        return None
    return {letter: listed[letter].strip() for letter in letters}


def gold_letter(row: Row, options: Sequence[str] | Mapping[str, str], column: str = "answer") -> str:
    """The right letter. Raises TaskError if it is none of the options' letters."""
    letter = text_of(row, column).strip().upper()
    if letter not in options:
        raise TaskError(f"the answer {letter!r} is outside the options {''.join(options)}")
    return letter


def seeded_guess(family: str, identity: str, letters: Sequence[str]) -> str:
    """The random option of official scorers, drawn from the sample's own identity: no order or batch changes it.

    >>> seeded_guess("mmmu", "validation_Art_1", "ABCD") == seeded_guess("mmmu", "validation_Art_1", "ABCD")
    True
    """
    digest = hashlib.sha256(f"{family}\0{identity}".encode("utf-8", "surrogatepass")).digest()
    return letters[int.from_bytes(digest[:8], "big") % len(letters)]


def empty(details: dict[str, Any] | None = None) -> Score:
    """The model said nothing: wrong under both protocols, and counted."""
    return Score(0.0, None, "empty", details or {})


def verdict(right: bool | float, extracted: str | None, details: dict[str, Any] | None = None) -> Score:
    """A score, or an unparsed answer (worth 0) where nothing was read out of the text."""
    if extracted is None:
        return Score(0.0, None, "unparsed", details or {})
    return Score(float(right), extracted, "scored", details or {})


def percent(scores: Sequence[Score]) -> float:
    """Mean value on 0-100; every sample counts. Raises TaskError if there is none."""
    if not scores:
        raise TaskError("there is no sample to aggregate: the result would be empty")
    return 100.0 * sum(score.value for score in scores) / len(scores)


def accuracy_by(scores: Sequence[Score], key: str) -> dict[str, float]:
    """``accuracy`` over all samples and ``accuracy_<group>`` for each group named by the detail ``key``."""
    groups = {f"accuracy_{name}": value for name, value in percent_by(scores, key).items()}
    return {"accuracy": percent(scores), **groups}


def percent_by(scores: Sequence[Score], key: str) -> dict[str, float]:
    """Mean value on 0-100 of each group, groups named by the detail ``key``, in order of appearance."""
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(str(score.details[key]), []).append(score)
    return {name: percent(members) for name, members in groups.items()}
