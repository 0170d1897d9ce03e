"""What a model says at last: without its thoughts and tags, and what is left where it takes something back."""

from __future__ import annotations

import re

_THOUGHT_ENDS = re.compile(
    r"</(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection)>|<\|end_of_thought\|>|\u25c1/think\u25b7",
    re.IGNORECASE,
)
_FRAME = re.compile(r"<(?:answer|conclusion)>|<\|begin_of_box\|>", re.IGNORECASE)
_FRAME_ENDS = re.compile(r"</(?:answer|conclusion)>|<\|end_of_box\|>", re.IGNORECASE)
_TAG = re.compile(r"</?(?!(?:yes|no)>)([A-Za-z]\w{0,20})>|<\|\w{1,30}\|>", re.IGNORECASE)
_CLOSED = re.compile(r"</(\w)>")


def spoken(text: str) -> str:
    """What a model says when it has thought, without tags: of what it frames as its answer only that.

    Where nothing follows the thoughts, their last line is all that it says. ``<B>`` is a letter, ``<b>B</b>`` bold.

    >>> spoken("<think>Is it A?</think><answer>B</answer></s>").strip()
    'B'
    """
    if "<" not in text and "\u25c1" not in text:
        return text
    thoughts = list(_THOUGHT_ENDS.finditer(text))
    if not thoughts:
        return _framed(text)
    said = _framed(text[thoughts[-1].end() :])
    if said.strip():
        return said
    return _framed(text[: thoughts[-1].start()]).rstrip().rpartition("\n")[2]


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
