"""What a task's YAML says about its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lladav_eval.data.layout import Split

EMBEDDED = ("parquet", "json", "csv", "arrow", "text", "imagefolder", "videofolder")
"""``dataset_path`` of tasks that carry their own files (the builders of the ``datasets`` library)."""

MEDIA_PATTERNS = ("*.zip", "*.mp4", "*.avi", "*.mkv", "*.webm", "*.mov")
"""What a video task needs besides its table, unless its YAML says more precisely."""


@dataclass(frozen=True)
class Recipe:
    """Where a task's rows and media come from."""

    split: Split
    revision: str | None = None
    """A branch or commit that the task asks for."""
    media: tuple[str, ...] = ()
    """Patterns of files in the data set's repository that hold the media; none where the table holds them."""
    size_gb: float | None = None
    """Download size as noted in the YAML."""


def read_recipe(content: Mapping[str, Any]) -> Recipe | None:
    """Read a task's YAML content; None for a task whose files lie beside its YAML.

    Used: dataset_path, dataset_name, test_split (else validation_split, else training_split, as lmms-eval has it),
    dataset_kwargs.video and .revision, metadata.media (patterns) and metadata.size_gb.

    Raises:
        TaskError: names that can't be those of a data set.
    """
    path = content.get("dataset_path")
    splits = [content.get(f"{kind}_split") for kind in ("test", "validation", "training")]
    split = next((name for name in splits if name), None)
    if not path or path in EMBEDDED or split is None:
        return None
    options = content.get("dataset_kwargs")
    options = options if isinstance(options, dict) else {}
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    media = metadata.get("media", MEDIA_PATTERNS if options.get("video") else ())
    revision, size = options.get("revision"), metadata.get("size_gb")
    return Recipe(
        split=Split(str(path), content.get("dataset_name") or None, str(split)),
        revision=None if revision is None else str(revision),
        media=(media,) if isinstance(media, str) else tuple(str(pattern) for pattern in media),
        size_gb=float(size) if isinstance(size, int | float) else None,
    )
