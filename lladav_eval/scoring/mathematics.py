"""Are two mathematical answers the same? Text -> expression -> equality by SymPy, without eval, within bounded work.

(math-verify would be the natural choice, but the releases that work need another ANTLR than lmms-eval pins.)
Expressions are read by a small parser of our own (expressions.py). What it can't read is compared as text.
"""

from __future__ import annotations

import re
from typing import Any

from lladav_eval.scoring.expressions import Unreadable, read_expression
from lladav_eval.scoring.extract import (
    MAX_LENGTH,
    clean,
    concluded_answer,
    fold,
    joined_thousands,
    last_boxed,
    last_sentence,
    stated_answer,
    without_therefore,
)
from lladav_eval.scoring.spoken import spoken

MAX_NAME = 12
"""What stands before "=" is a name (``f(x)``) up to this length, unless it is a multiple (``2x``)."""
_MULTIPLE = re.compile(r"-?\d+ ?[a-zA-Z]|-[a-zA-Z]")
_TOLERANCE = 1e-9
_UNITS = {
    "mm": "millimet(?:re|er)s?",
    "cm": "centimet(?:re|er)s?",
    "dm": "decimet(?:re|er)s?",
    "km": "kilomet(?:re|er)s?",
    "m": "met(?:re|er)s?",
    "in": "inch(?:es)?",
    "ft": "foot|feet",
    "yd": "yards?",
    "mi": "miles?",
    "kg": "kilograms?",
    "g": "grams?",
    "h": "hours?",
    "min": "minutes?",
    "s": "seconds?",
    "unit": "units",
}
"""Units, and how they are spelt out."""
_SPELT = [(unit, re.compile(f"{unit}|{words}", re.IGNORECASE)) for unit, words in _UNITS.items()]
_UNIT = re.compile(
    r"(?<=[\d)}°π])\s*(?:\\?(?P<sign>[%°])|\\circ|degrees?|(?:\\(?:text|mathrm)\s*\{)?\s*"
    rf"(?:(?P<square>square |sq\.? )|(?P<cubic>cubic ))?(?P<name>{'|'.join(spelt.pattern for _, spelt in _SPELT)})"
    r"\}?(?:\^?\{?(?P<power>[23])\}?)?\s*\}?)\s*$",
    re.IGNORECASE,
)
_SPELT_SIGN = re.compile(r"\\(infty|geq?|leq?|neq?|cup)(?![a-zA-Z])|>=|<=")
_SIGNS = {
    "\\infty": "∞", "\\ge": "≥", "\\geq": "≥", ">=": "≥", "\\le": "≤", "\\leq": "≤", "<=": "≤",
    "\\ne": "≠", "\\neq": "≠", "\\cup": "∪",
}  # fmt: skip
_SHORT_FRACTION = re.compile(r"(\\[dt]?frac)\s*(\d)\s*(\d)")
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))")
_RAISED = str.maketrans({"²": "^{2}", "³": "^{3}"})
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\\,|\{,\})(?=\d{3}(?!\d))")
_SILENT = re.compile(r"\\(?:left|right|displaystyle|,|;|!|:| )|\\[()\[\]]|\\?\$|~")
_APART = re.compile(r"(?<!\d) +| +(?!\d)")
"""Spaces that say nothing. One between digits does: 1 1/2 is not 11/2."""
_WORD = re.compile(
    r"(?<![A-Za-z\\])(?!(?:sqrt|sin|cos|tan|log|exp)(?![A-Za-z]{2}))[A-Za-z]{3,}(?![A-Za-z])", re.IGNORECASE
)
"""A word, or a product of variables ("2abc")."""
_SEVERAL = re.compile(r"(?<![a-z\\])(?:or|and)(?![a-z])", re.IGNORECASE)
"""``x = 5 or x = 6`` is no single answer."""


def final_answer(text: str) -> str | None:
    """The final answer of a solution: the last \\boxed{...}, else what follows the last "answer is" or "answer:"
    (its first line), else what the last sentence says something "is", else its equation, else the whole text if it is
    short; None if that leaves nothing.

    >>> final_answer("So $x = 4$. The answer is: 4 cm.")
    '4 cm'
    """
    text = spoken(text)
    boxed = last_boxed(text)
    if boxed is not None:
        return clean(boxed) or None
    stated = stated_answer(text)
    if stated is not None:
        return stated or None
    concluded = concluded_answer(text)
    if concluded is not None:
        return concluded
    sentence = last_sentence(text)
    whole = without_therefore(sentence if "=" in sentence else clean(text))
    return whole if 0 < len(whole) <= MAX_LENGTH else None


def math_equal(answer: str, gold: str) -> bool:
    """Whether two answers mean the same: as text, as number (units aside), as expression, or part by part.

    >>> math_equal("\\\\frac{1}{2}", "0.5"), math_equal("x=3", "3"), math_equal("(-2,1]", "(-2,1)")
    (True, True, False)
    """
    first, second = _plain(answer), _plain(gold)
    if not first or not second or max(len(first), len(second)) > MAX_LENGTH:
        return False
    if _APART.sub("", first).casefold() == _APART.sub("", second).casefold():
        return True
    first_parts, second_parts = _parts(first), _parts(second)
    if len(first_parts) != len(second_parts):
        return False
    if len(first_parts) > 1:
        return _brackets(first) == _brackets(second) and all(map(math_equal, first_parts, second_parts))
    if _SEVERAL.search(first) or _SEVERAL.search(second):
        return False
    if "=" in first or "=" in second:
        return _same_equation(first, second)
    return _same_value(first, second)


def _plain(text: str) -> str:
    """Folded text without layout commands, thousands commas and a final full stop."""
    text = _DEGREES.sub("°", _THOUSANDS.sub("", fold(text).translate(_RAISED)))
    text = _SHORT_FRACTION.sub(r"\1{\2}{\3}", _SPELT_SIGN.sub(lambda match: _SIGNS[match.group()], text))
    return joined_thousands(clean(_SILENT.sub(" ", text)).removesuffix("."))


def _brackets(text: str) -> tuple[str, str]:
    """The brackets around a list, "" for none."""
    return text[0] if text[0] in "([{" else "", text[-1] if text[-1] in ")]}" else ""


def _parts(text: str) -> list[str]:
    """The parts of a pair, an interval or a list: split at the commas outside inner brackets."""
    inner = text[1:-1] if text[0] in "([{" and text[-1] in ")]}" else text
    parts, depth, start = [], 0, 0
    for place, character in enumerate(inner):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(inner[start:place].strip())
            start = place + 1
    return [*parts, inner[start:].strip()] if parts else [text]


def _same_equation(first: str, second: str) -> bool:
    """``x = 3`` equals ``3``; two equations are equal if both sides are."""
    sides = [[side.strip() for side in text.split("=")] for text in (first, second)]
    if len(sides[0]) == len(sides[1]):
        return all(_same_value(*pair) for pair in zip(*sides, strict=True))
    if any(len(each) > 1 and (len(each[0]) > MAX_NAME or _MULTIPLE.fullmatch(each[0])) for each in sides):
        return False
    return _same_value(sides[0][-1], sides[1][-1])


def _unit(text: str) -> tuple[str, str]:
    """(text without its unit, unit in one spelling or "")."""
    match = _UNIT.search(text)
    if match is None:
        return text, ""
    if match["name"] is None:
        unit = match["sign"] or "°"
    else:
        power = match["power"] or ("2" if match["square"] else "3" if match["cubic"] else "")
        unit = next(unit for unit, spelt in _SPELT if spelt.fullmatch(match["name"])) + power
    return text[: match.start()], unit


def _same_value(first: str, second: str) -> bool:
    (first, unit), (second, other) = _unit(first), _unit(second)
    if unit and other and unit != other:
        return False
    if _has_words(first, second) or _has_words(second, first):
        return False
    try:
        return _equal(read_expression(first), read_expression(second))
    except (Unreadable, ArithmeticError, ValueError, TypeError, RecursionError):
        return False


def _has_words(text: str, other: str) -> bool:
    """Whether letters side by side are no product of the other text's variables: "the value of 0" isn't 0."""
    letters = set(other.casefold())
    return any(not letters.issuperset(word.casefold()) for word in _WORD.findall(text))


def _equal(first: Any, second: Any) -> bool:
    """Equality of two SymPy expressions: exact where it shows, else numerically at fixed points."""
    if first == second:
        return True
    names = sorted(first.free_symbols | second.free_symbols, key=str)
    if first.free_symbols != second.free_symbols:
        return False
    for point in range(1 if not names else 3):
        values = {name: (7 + 5 * point + 3 * place) / (11.0 + point) for place, name in enumerate(names)}
        one, other = (complex(side.evalf(25, subs=values)) for side in (first, second))
        if not abs(one - other) <= _TOLERANCE * max(1.0, abs(other)):
            return False
    return True
