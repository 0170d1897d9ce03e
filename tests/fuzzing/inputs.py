"""Bad input in general: odd values, damaged files, and what a target of the fuzzing is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from lladav_eval.errors import EvalError

ODD_NUMBERS = st.sampled_from([0, -1, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), 0.1, True])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | ODD_NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
BYTES = st.binary(max_size=60)
WORDS = st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\n", b'"', b"}", b"[" * 40])


@dataclass(frozen=True)
class Target:
    """One kind of input."""

    inputs: st.SearchStrategy[Any]
    check: Callable[[Any, Path], None]
    """Gets an input and an empty folder; raises whatever an input must not raise."""
    isolated: bool = False
    """Read by libraries in C that may crash: the long form runs it apart."""


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A good file with one to six pieces flipped, overwritten, cut out, doubled or cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        if not content:
            break
        # Most of what a format checks stands at its beginning.
        last = len(content) - 1 if draw(st.booleans()) else min(len(content) - 1, 200)
        start = draw(st.integers(0, last))
        length = draw(st.integers(1, 16))
        how = draw(st.sampled_from(["flip", "word", "random", "cut", "double", "end"]))
        if how == "flip":
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "word":
            word = draw(WORDS)
            content[start : start + len(word)] = word
        elif how == "random":
            content[start : start + length] = draw(st.binary(min_size=1, max_size=16))
        elif how == "cut":
            del content[start : start + length]
        elif how == "double":
            content[start:start] = content[start : start + length]
        else:
            del content[start:]
    return bytes(content)


def refused(call: Callable[[], Any]) -> Any:
    """What the call gives; None where it raises one of our errors, which must be one line."""
    try:
        return call()
    except EvalError as error:
        lines = str(error).splitlines()
    assert len(lines) == 1, lines
    return None
