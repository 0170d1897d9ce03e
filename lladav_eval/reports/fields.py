"""Reading JSON that something else wrote: every complaint names the file and the field."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lladav_eval.errors import UsageError


class Fields:
    """A JSON object that knows where it stands, so that every complaint can say so."""

    def __init__(self, content: Any, path: Path, prefix: str = "") -> None:
        self.path, self.prefix = path, prefix
        if not isinstance(content, dict):
            raise UsageError(f"{path}: {prefix.rstrip('. :') or 'the document'} must be a JSON object")
        self.content: dict[str, Any] = content

    def wrong(self, name: str, expected: str) -> UsageError:
        """The complaint about one field."""
        found = repr(self.content[name])[:60] if name in self.content else "missing"
        return UsageError(f"{self.path}: {self.prefix}{name} is {found}; expected {expected}")

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.content.get(name) is not None

    def value(self, name: str) -> Any:
        """A field of any kind, null included."""
        if name not in self.content:
            raise self.wrong(name, "a value")
        return self.content[name]

    def get(self, name: str, kind: type) -> Any:
        """A field of one kind; true and false are no whole numbers."""
        value = self.content.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, kind.__name__)
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self.content.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.wrong(name, "a finite number")
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        """A finite number; None where the field is null or absent."""
        return self.number(name) if self.has(name) else None

    def text_or_none(self, name: str) -> str | None:
        """Text; None where the field is null or absent."""
        return str(self.get(name, str)) if self.has(name) else None

    def inner(self, name: str) -> Fields:
        """The object in a field."""
        if not isinstance(self.content.get(name), dict):
            raise self.wrong(name, "an object")
        return Fields(self.content[name], self.path, f"{self.prefix}{name}.")

    def names(self, name: str) -> list[str]:
        """The names inside the object in a field, in order; at least one."""
        names = list(self.inner(name).content)
        if not names and name == "tasks":
            raise self.wrong(name, "at least one entry")
        return names
