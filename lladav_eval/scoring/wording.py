"""How sentences choose an option or only speak of one: the words around a letter."""

from __future__ import annotations

import re
from functools import lru_cache

from lladav_eval.scoring.extract import is_denied

CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Signs that are no part of the word before them, for a character class."""
_BULLET = re.compile(r"^[-*\u2022]\s+")
_LONE = re.compile(
    # An arrow or another sign; "option", also in Chinese, or "solution:"; then the letter and marks, but not those of
    # "not B", "B+" or "C#".
    r"(?:-+>\s*|[^\w\s(\[\"'<!~\u00ac+*#\u2022-]{1,3}\s*)?(?:(?:option|choice|letter)(?::\s*|\s+)|\u9009\u9879"
    r"|(?:the\s+)?(?:solution|result|conclusion|selection|selected|final|response|output|prediction|pick)"
    r"\s*(?::|=|-+>?\s|is\s)\s*)?(?:[(\[{\"'<]*([A-Za-z])[^\w+=<>/^#-]*|(\W*[A-Za-z].*))",
    re.IGNORECASE,
)
_BAD = r"(?:incorrect|wrong|eliminated|excluded|ruled\s+out)\b"
_WRONG = re.compile(
    rf"[)\]\"'*]*\s*(?:[:(-]\s*{_BAD}|\.?\s*{_BAD}(?=\s*(?:[.,;)]|$))"
    r"|(?:is|was|does|did|can|could|has|seems|looks|would|should|will)(?:n't|\s*not)\s+(?!only\b)\w)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"\b(?:(?:in|from|at|see)|(?:in|from|at|see|of|by|to)\s+(?:the\s+)?"
    r"(?:figure|fig\.?|image|picture|panel|graph|diagram|photo|equation|table|step))\s*$",
    re.IGNORECASE,
)
_ITEM = re.compile(
    r"(?:[-*\u2022]\s|\d{1,2}[.)]\s|[\W_]*(?:(?:option|choice|letter|statement)s?\s+[(\[]?[A-Za-z]\b|[A-Za-z][.):])"
    r"|[(\[]\s*[A-Za-z]\s*[)\]])",
    re.IGNORECASE,
)
_LIST_BEGINS = re.compile(r"\b(?:options|choices|each\s+(?:option|choice|one))[^\w:]{0,4}:\W{0,4}$", re.IGNORECASE)
_OPEN = re.compile(r"\b(?:if|either|whether|unless|or|could|might|may)\b", re.IGNORECASE)
_NEAR = 30
"""How far before a letter words that belong to it are looked for."""


def alone(line: str) -> tuple[str | None, str]:
    """The letter, if it is all that a line says, and the line; without an arrow or "option" before it."""
    match = _LONE.fullmatch(line)
    if match is None:
        return None, line
    return (match[1].upper(), match[1]) if match[1] else (None, match[2])


def without_bullet(text: str) -> str:
    """The only line of a text, without a bullet; several lines may be a list of which the last isn't the answer."""
    return text if "\n" in text else _BULLET.sub("", text)


def is_called_wrong(text: str, place: int) -> bool:
    """Whether what ends at ``place`` is listed as wrong, or not to be so: "A: incorrect", "(B) is not visible"."""
    return _WRONG.match(text, place) is not None


def is_reference(text: str, place: int) -> bool:
    """Whether the words before ``place`` only point to a part of the picture: "in", "in figure"."""
    return _REFERENCE.search(text[max(0, place - _NEAR) : place]) is not None


def is_item(line: str) -> bool:
    """Whether a line begins as one of a list does."""
    return _ITEM.match(line.lstrip()) is not None


def begins_list(line: str) -> bool:
    """Whether the options follow behind a line: "Let's look at each option:"."""
    return _LIST_BEGINS.search(line) is not None


def occurs(content: str, lowered: str) -> bool:
    """Whether the content of an option stands in a text, as words of it."""
    return bool(content) and re.search(rf"(?<!\w){re.escape(content)}(?!\w)", lowered) is not None


def chosen_at_end(text: str, letters: str) -> set[str]:
    """The letter that the last words of a text choose, if nothing is left open: "so B", "I think (B)", "it's B"."""
    match = _closing(letters).search(text)
    if match is None or is_denied(text, match.start(1)):
        return set()
    return set() if _OPEN.search(text, text.rfind(". ", 0, match.start()) + 1) else {match.group(1)}


def joined_before(text: str, place: int, letters: str) -> set[str]:
    """The letter that is joined to the one at ``place``: A in "A or (B)"."""
    return set(_joined(letters).findall(text[max(0, place - _NEAR) : place]))


def bare_letters(letters: str) -> re.Pattern[str]:
    """A letter that is no word, wherever it stands."""
    return _bare("".join(letter for letter in letters if letter not in "AI") or letters)


@lru_cache(maxsize=64)
def _bare(letters: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'-])([{re.escape(letters)}])(?![\w'-])")


@lru_cache(maxsize=64)
def _closing(letters: str) -> re.Pattern[str]:
    return re.compile(
        r"(?<![^\s,.;:(])(?i:so|thus|hence|therefore|(?:I|we)\s+(?:think|believe|guess|suppose)(?:\s+that)?"
        r"|I(?:'d|\s+would)\s+(?:say|guess)|probably|(?<!less )(?<!least )(?:most\s+)?likely|no(?=,)"
        r"|(?:it|that|this)(?:'s|\s+(?:is|must\s+be|should\s+be)))"
        rf",?\s+(?:[Oo]ption\s+)?[\"'(\[]*([{re.escape(letters)}])[\"')\].!]*$"
    )


@lru_cache(maxsize=64)
def _joined(letters: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<![\w'-])([{re.escape(letters)}])[\"'*)\]]*\s*(?:,?\s*(?:and|or)\s+|[/&]\s*)(?:[Oo]ption\s+)?$"
    )
