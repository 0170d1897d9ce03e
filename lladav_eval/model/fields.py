"""Fields of a checkpoint's config.json: there, of the right kind, and no larger than is believed."""

from __future__ import annotations

import re
from typing import Any

from lladav_eval.errors import CheckpointError

MOST, MOST_LAYERS = 1 << 24, 1000
"""Largest size and number of layers that is believed; a damaged file may ask for any."""


def _given(fields: dict[str, Any], name: str, default: str | None = None) -> Any:
    """A field's value. Raises CheckpointError where it has none."""
    value = fields.get(name, default)
    if value is None:
        raise CheckpointError(f"field {name!r} is missing; is this a LLaDA-V checkpoint?")
    return value


def require(fields: dict[str, Any], name: str, pattern: str, default: str | None = None) -> None:
    """Raises CheckpointError unless a field is a text that ``pattern`` matches as a whole."""
    value = _given(fields, name, default)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise CheckpointError(f"{name}={value!r} is not supported; expected {pattern}")


def size_of(fields: dict[str, Any], name: str) -> int:
    """A size, or a number of layers. Raises CheckpointError for anything else."""
    value = _given(fields, name)
    most = MOST_LAYERS if name == "num_hidden_layers" else MOST
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise CheckpointError(f"{name}={value!r:.40}: must be a whole number from 1 to {most:,}")
    return value


def number_of(fields: dict[str, Any], name: str) -> float:
    """A number above 0. Raises CheckpointError for anything else."""
    value = _given(fields, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
        raise CheckpointError(f"{name}={value!r:.40}: must be a number above 0")
    return float(value)
