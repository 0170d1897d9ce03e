"""What every answer kind shares: cleaning a model's text without changing what it says.

All functions of this room are pure: text in, an extracted answer or None out. None means that nothing could be read;
it scores zero and is counted, and nothing is ever guessed.
"""

from __future__ import annotations

import re
import unicodedata

from lladav_eval.scoring.spoken import spoken

_FOLDED = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full-width letters, digits and punctuation
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63"), "-"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033"), '"'),
    **{ord(sign): plain for sign, plain in zip("\u3002\u3001\u3010\u3011", ".,[]", strict=True)},
    **dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"), None),  # nothing to be seen
}
_ANSWER_CUE = re.compile(
    r"(?:(?<![^\W_])(?:answer|(?:correct|right|best)\s+(?:option|choice))[*_`\"']*\s*"
    # "The answer is correct because ..." states nothing.
    r"(?:is\b(?!\s+(?:(?:correct|approximate)\b|(?:clear|obvious|evident|based)\s+(?:because|since|as|from|that|on|in)\b))"
    r"|(?:would|should|must|will)\s+be\b|'s\b|:|=)|\u7b54\u6848(?:\u662f|\u4e3a|:))\s*:?(?:[\s*_`]|\\[\[(]|\$\$)*",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"""(?:n't|\b(?:not|never|cannot|no\s+longer|none|neither|nor|either|unlikely|impossible|whether|if|(?:i|we)\s+doubt
        |except(?:\s+for)?|than|instead\s+of|(?:all|any|anything|everything)\s+but|rul(?:e|es|ed|ing)\s+out
        |exclud(?:e|es|ed|ing)|eliminat(?:e|es|ed|ing)|reject(?:s|ed|ing)?))\b
    (?:\s+(?:think|believe|suppose|expect|say|sure|certain|clear|likely|possible|seem|appear|look|like))?
    (?:\s+that)?
    (?:\s+(?:it|this|that|there|(?:the\s+)?(?:(?:correct|right|final|best)\s+)?(?:answer|option|choice))
        (?:'s|\s+(?:is|are|was|can|could|would|might|should)))?
    (?:\s+(?:to\s+)?be)?
    (?:\s+(?:choose|pick|select|accept|go\s+(?:for|with)))?
    (?:\s+(?:exactly|precisely|simply|just|really|actually|necessarily|equal\s+to))?
    (?:\s+(?:in|among|(?:any\s+|one\s+|all\s+|both\s+)?of))?
    (?:\s+(?:the|an?|any|both|either))?
    (?:\s+(?:(?:correct|right|final|best|given|listed)\s+)?(?:answer|option|choice|letter|number|value)s?)?
    [^\w.,;!?)\]]*$""",
    re.IGNORECASE | re.VERBOSE,
)
"""A denial, and behind it only words that lead to what is denied: ``unlikely to be``, ``n't think the answer is``."""
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_SENTENCE_END = re.compile(r"\.\s")
_IS = re.compile(
    r"(?:\b(?:is|are|was|were|equals)|\b(?:it|that|this)'s)\s+(?!not\b)(?:(?:about|approximately|exactly|equal\s+to)\s+)?",
    re.IGNORECASE,
)
MAX_LENGTH = 200
"""Longer texts are no final answers."""
_NEAR = len("*the final ")
"""How far before a cue a lone * or _ that opens emphasis is looked for."""
_EMPHASIS = ("**", "__", "`", "*", "_")
_REACH = 60
"""How far before an answer its denial is looked for."""
_WRAPPERS = (*_EMPHASIS, '"', "'")


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
    return _unwrapped(" ".join(fold(text).split()))


def _unwrapped(text: str) -> str:
    previous = None
    while text != previous:
        previous = text
        for wrapper in _WRAPPERS:
            if len(text) > 2 * len(wrapper) and text.startswith(wrapper) and text.endswith(wrapper):
                text = text[len(wrapper) : -len(wrapper)].strip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1].rstrip()
    return text


def stated_answer(text: str) -> str | None:
    """The first line behind the last "answer is" or "answer:" of the text, cleaned; None if there is no such cue.

    "I don't think the answer is" states nothing.

    >>> stated_answer("Seven and eight make 15.\\n\\n**The answer is: B**\\n\\nI hope this helps.")
    'B'
    """
    text = _unwrapped(fold(text).strip())
    cues = reversed(list(_ANSWER_CUE.finditer(text)))
    cue = next((cue for cue in cues if not is_denied(text, cue.start() + len(cue.group().rstrip()))), None)
    if cue is None:
        return None
    line = text[cue.end() :].split("\n", 1)[0]
    begins = text.rfind("\n", 0, cue.start()) + 1
    before, near = text[begins : cue.end()], text[max(begins, cue.start() - _NEAR) : cue.end()]
    for mark in _EMPHASIS:
        # Emphasis that begins before the answer ends in or behind it. A lone * or _ may also be part of a formula.
        if (before if mark in ("**", "__", "`") else near).count(mark) % 2:
            line = line.replace(mark, "", 1)
    return clean(line)


def concluded_answer(text: str) -> str | None:
    """What stands behind the only "is" of the last sentence: "Therefore, the length of AB is 4 cm."."""
    sentence = _SENTENCE_END.split(clean(text.strip().rpartition("\n")[2]))[-1]
    said = list(_IS.finditer(sentence))
    if len(said) != 1 or is_denied(sentence, said[0].end()):
        return None
    return clean(sentence[said[0].end() :]) or None


def is_denied(text: str, place: int) -> bool:
    """Whether what begins at ``place`` is denied by the words before it, in the same line.

    >>> is_denied("The answer is unlikely to be (B)", 29), is_denied("It is not. So (B)", 14)
    (True, False)
    """
    return _DENIAL.search(text[max(0, place - _REACH) : place].rpartition("\n")[2]) is not None


def boxed(text: str) -> list[str]:
    """What stands in the last \\boxed{...} whose braces close, and in those before it in its line; the last first."""
    found: list[str] = []
    begins = len(text)
    for match in reversed(list(_BOXED.finditer(text))[-8:]):
        if found and "\n" in text[match.end() : begins]:
            break
        depth = 1
        for place in range(match.end(), min(len(text), match.end() + 2 * MAX_LENGTH)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if not depth:
                found.append(text[match.end() : place])
                begins = match.start()
                break
    return found


def last_boxed(text: str) -> str | None:
    """The content of the last \\boxed{...} whose braces close."""
    return next(iter(boxed(text)), None)


def final_text(text: str) -> str:
    """The answer that a text states or frames, or the whole text, cleaned."""
    text = spoken(text)
    stated = stated_answer(text)
    return clean(last_boxed(text) or text) if stated is None else stated


def is_empty(text: str) -> bool:
    """True if the model said nothing at all."""
    return not text.strip()
