"""What a model says at last: without its thoughts and tags, and what is left where it takes something back."""

from __future__ import annotations

import re
from collections.abc import Callable

_THOUGHT_ENDS = re.compile(
    r"</(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection)>|<\|end_of_thought\|>|\u25c1/think\u25b7",
    re.IGNORECASE,
)
_FRAME = re.compile(r"<(?:answer|conclusion)>|<\|begin_of_box\|>", re.IGNORECASE)
_FRAME_ENDS = re.compile(r"</(?:answer|conclusion)>|<\|end_of_box\|>", re.IGNORECASE)
_TAG = re.compile(r"</?(?!(?:yes|no)>)([A-Za-z]\w{0,20})>|<\|\w{1,30}\|>", re.IGNORECASE)
_CLOSED = re.compile(r"</(\w)>")

_FAREWELL = re.compile(
    r"\W*(?:I\s+hope\s+(?:this|that|it)|hope\s+this|(?:please\s+)?let\s+me\s+know|(?:please\s+)?feel\s+free|if\s+you\s+(?:have|need))\b",
    re.IGNORECASE,
)
_TURN = re.compile(
    r"""(?:(?:^|[.!?,;\n\u2026-]\s{0,3})(?:(?:no|oh|but|or|hmm|sorry)[\s,.]{1,3}){0,2}
        (?:wait(?=\s{0,3}(?:[,.!?:;\u2026-]|$)|\s+(?:no|actually|let)\b)|hold\s+on(?=\s?[,.!:;-])|scratch\s+that\b
            |correction\s?:|on\s+second\s+thoughts?\b)
    |(?:^|[.!?\n\u2026]\s{0,3})(?:(?:no|oh|but)[\s,]{1,3}){0,2}actually\b
    |(?:\.\.\.|\u2026)\s?(?=no\b)|[,;]\s?(?=no,\s))[\s,.:;!\u2026-]{0,5}(?:actually[\s,]{1,3})?""",
    re.IGNORECASE | re.VERBOSE,
)
_MOST_TURNS = 8


def spoken(text: str) -> str:
    """What a model says when it has thought, without tags: of what it frames as its answer only that.

    Where nothing follows the thoughts, their last line is all that it says. ``<B>`` is a letter, ``<b>B</b>`` bold. A
    last line that only hopes to have helped says nothing.

    >>> spoken("<think>Is it A?</think><answer>B</answer></s>").strip()
    'B'
    """
    text = _without_farewell(text)
    if "<" not in text and "\u25c1" not in text:
        return text
    thoughts = list(_THOUGHT_ENDS.finditer(text))
    if not thoughts:
        return _framed(text)
    said = _framed(text[thoughts[-1].end() :])
    if said.strip():
        return said
    return _framed(text[: thoughts[-1].start()]).rstrip().rpartition("\n")[2]


def _without_farewell(text: str) -> str:
    before, end, last = text.rstrip().rpartition("\n")
    return before if end and _FAREWELL.match(last) else text


def _framed(text: str) -> str:
    """What stands in the last frame that isn't empty, else the whole text; without tags."""
    for frame in reversed(list(_FRAME.finditer(text))[-4:]):
        end = _FRAME_ENDS.search(text, frame.end())
        inner = _untagged(text[frame.end() : end.start() if end else len(text)])
        if inner.strip():
            return inner
    return _untagged(text)


def _untagged(text: str) -> str:
    closed = frozenset(_CLOSED.findall(text))

    def shown(tag: re.Match[str]) -> str:
        name = tag.group(1) or ""
        is_letter = len(name) == 1 and name.isupper() and name not in closed and tag.group()[1] != "/"
        return f" {name} " if is_letter else " "

    return _TAG.sub(shown, text)


def reconsidered(
    text: str,
    read: Callable[[str], str | None],
    read_turn: Callable[[str], str | None],
    mentioned: Callable[[str], set[str]],
) -> str | None:
    """What ``read`` finds in a text that takes nothing back.

    Behind a "wait", "actually" or "on second thought" counts what ``read_turn`` finds. Where it finds nothing, what
    stands before counts, unless another answer is ``mentioned`` behind.
    """
    others: set[str] = set()
    for turn in list(_TURN.finditer(text))[: -_MOST_TURNS - 1 : -1]:
        behind, text = text[turn.end() :], text[: turn.start()]
        said = read_turn(behind)
        if said is not None:
            return said if others <= {said} else None
        others |= mentioned(behind)
    first = read(text)
    return first if others <= {first} else None
