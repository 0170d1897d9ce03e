"""Names and numbers of the approximate modes, as a user writes them: ``dllm`` or ``dllm:25,7,0.25``.

Bidirectional attention changes every key and value at every step, so whatever is read from a cache is out of date, and
answers may differ from exact decoding. What each mode does lies in sampling/cache.py and sampling/filling.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any, ClassVar, TypeVar

from lladav_eval.errors import SettingError


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of everything before the block are reused (Fast-dLLM, arXiv 2505.22618, section 3.2)."""

    name: ClassVar[str] = "prefix"
    refresh: int = 32
    """A block begins with a whole pass, and so does every step that is a multiple of this from there on; 32 is the
    authors' choice for LLaDA-V (table 3)."""


@dataclass(frozen=True)
class DualCache:
    """Keys and values of everything outside the block are reused (Fast-dLLM's DualCache)."""

    name: ClassVar[str] = "dual"
    refresh: int = 32
    """As in the prefix cache."""


@dataclass(frozen=True)
class DllmCache:
    """Keys, values, attention and feed-forward outputs are reused (dLLM-Cache, arXiv 2506.06295).

    The defaults are those of the authors' demo of LLaDA-V (train/generate_demo.py).
    """

    name: ClassVar[str] = "dllm"
    prompt_interval: int = 25
    """Steps between two computations of the prompt."""
    response_interval: int = 7
    """Steps between two computations of the answer."""
    transfer_ratio: float = 0.25
    """Share of the answer computed at the other steps: where the values changed most, layer by layer."""


@dataclass(frozen=True)
class Prophet:
    """Everything left of a block is filled at once when the model is sure (Prophet, arXiv 2508.19982, equation 6).

    The numbers are what the mean gap between the two highest logits must reach in each third of the steps.
    """

    name: ClassVar[str] = "prophet"
    early: float = 7.5
    middle: float = 5.0
    late: float = 2.5


CacheSettings = PrefixCache | DualCache | DllmCache
CACHES: tuple[type[CacheSettings], ...] = (PrefixCache, DualCache, DllmCache)
_Mode = TypeVar("_Mode", bound=PrefixCache | DualCache | DllmCache | Prophet)


NAMES = ("cache", "threshold", "early_commit")
"""The settings that switch an approximate mode on."""


def in_use(settings: Mapping[str, Any]) -> str | None:
    """The approximate modes among generation settings, such as ``cache=dual:32``; None if decoding was exact."""
    found = [f"{name}={settings[name]}" for name in NAMES if settings.get(name) is not None]
    return ", ".join(found) or None


def parse_cache(text: str) -> CacheSettings:
    """The cache that ``text`` names.

    Raises:
        SettingError: if there is none of that name, or its numbers are unusable.
    """
    for kind in CACHES:
        if isinstance(text, str) and text.partition(":")[0] == kind.name:
            return _parse("cache", text, kind)
    names = ", ".join(kind.name for kind in CACHES)
    raise SettingError(f"cache={text!r}: choose {names}; leave it out (--gen: none) to be exact")


def parse_early_commit(text: str) -> Prophet:
    """The early commit that ``text`` names; raises SettingError as ``parse_cache`` does."""
    if not isinstance(text, str) or text.partition(":")[0] != Prophet.name:
        raise SettingError(f"early_commit={text!r}: choose {Prophet.name}; leave it out (--gen: none) to be exact")
    return _parse("early_commit", text, Prophet)


def spelled_out(settings: CacheSettings | Prophet) -> str:
    """The text with every number, so that one meaning has one spelling: ``dllm`` is ``dllm:25,7,0.25``."""
    return f"{settings.name}:{','.join(str(value).removesuffix('.0') for value in astuple(settings))}"


def _parse(setting: str, text: str, kind: type[_Mode]) -> _Mode:
    """Numbers may be left out from the right: ``dllm:25`` keeps the other two defaults."""
    _, colon, numbers = text.partition(":")
    known = fields(kind)
    try:
        values = [json.loads(number) for number in numbers.split(",")] if colon else []
    except (ValueError, RecursionError):
        values = [None]
    usable = len(values) <= len(known) and all(
        _fits(field.name, field.type, value) for field, value in zip(known, values, strict=False)
    )
    if not usable:
        example = spelled_out(kind())
        raise SettingError(f"{setting}={text!r}: write {example}, the numbers being {_expected(known)}")
    return kind(*values)


def _fits(name: str, kind: Any, value: Any) -> bool:
    """Whole numbers of at least 1; a ratio from 0 to 1; gaps of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if kind == "int":
        return isinstance(value, int) and value >= 1
    return 0 <= value <= 1 if name == "transfer_ratio" else value >= 0


def _expected(known: tuple[Any, ...]) -> str:
    kinds = {"int": "a whole number of at least 1", "float": "0 or more"}
    return ", ".join(
        f"{field.name} (0 to 1)" if field.name == "transfer_ratio" else f"{field.name} ({kinds[field.type]})"
        for field in known
    )
