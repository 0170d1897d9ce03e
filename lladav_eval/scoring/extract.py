"""What every answer kind shares: cleaning a model's text without changing what it says.

All functions of this room are pure: text in, an extracted answer or None out. None means that nothing could be read;
it scores zero and is counted, and nothing is ever guessed.
"""

from __future__ import annotations

import re
import unicodedata

_FOLDED = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full-width letters, digits and punctuation
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63"), "-"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033"), '"'),
    **dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"), None),  # nothing to be seen
}
_ANSWER_CUE = re.compile(r"\b(?:final\s+)?answer\s*(?:is\b|:|=)\s*:?\s*", re.IGNORECASE)
_WRAPPERS = ("**", "__", "*", "_", "`", '"', "'")


def fold(text: str) -> str:
    """Text with Unicode's dashes, quotes, digits and full-width characters as plain ASCII ones.

    >>> fold("\uff08\uff22\uff09 \u2212\u0663")
    '(B) -3'
    """
    if text.isascii():
        return text
    text = text.translate(_FOLDED)
    return "".join(str(unicodedata.decimal(character)) if character.isdecimal() else character for character in text)


def clean(text: str) -> str:
    """Folded text with white space collapsed, wrapping emphasis or quotes and one trailing full stop removed.

    >>> clean('  **Yes.** ')
    'Yes'
    """
    text = " ".join(fold(text).split())
    previous = None
    while text != previous:
        previous = text
        for wrapper in _WRAPPERS:
            if len(text) > 2 * len(wrapper) and text.startswith(wrapper) and text.endswith(wrapper):
                text = text[len(wrapper) : -len(wrapper)].strip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1].rstrip()
    return text


def after_cue(text: str) -> str:
    """What follows the last "answer is" or "answer:" of the text; the whole text if there is none.

    >>> after_cue("Seven and eight make 15. The answer is: B")
    'B'
    """
    end = None
    for match in _ANSWER_CUE.finditer(text):
        end = match.end()
    return text if end is None else text[end:]


def is_empty(text: str) -> bool:
    """True if the model said nothing at all."""
    return not text.strip()
