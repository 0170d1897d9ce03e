"""Pictures for the HTML report: scaled down, each content once, and never more than a given number of bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lladav_eval.errors import UsageError

IMAGE_SIDE = 768
"""Longest side of a stored picture, in pixels."""
FRAME_SIDE = 320
FRAMES = 8
"""Frames of a video that are stored, evenly spread over those the model saw."""
_LOSSLESS = 256 * 256
"""Pictures of at most this many pixels are stored as PNG: small drawings suffer from JPEG."""
_QUALITY = 85


@dataclass(frozen=True)
class Media:
    """What one sample shows."""

    images: Sequence[Image.Image] = ()
    video: bool = False
    """Whether the images are frames of a video."""
    note: str | None = None
    """Why there is nothing to show."""


MediaOf = Callable[[str, int, str], Media]
"""(task, doc_id, prompt) -> the sample's media."""


class MediaWriter:
    """Stores pictures in a folder until the budget is spent."""

    def __init__(self, folder: Path, budget: int) -> None:
        """``budget``: bytes of all pictures together."""
        self.folder, self.budget = folder, budget
        self.spent = 0
        self._sizes: dict[str, int] = {}

    def value(self, media: Media) -> dict[str, Any]:
        """What the page needs: ``{"files": [[name, width, height], ...], "video": bool, "note": text or None}``."""
        images = media.images
        if media.video and len(images) > FRAMES:
            last = len(images) - 1
            images = [images[round(number * last / (FRAMES - 1))] for number in range(FRAMES)]
        side = FRAME_SIDE if media.video else IMAGE_SIDE
        files = [self._store(image, side) for image in images]
        note = media.note
        if None in files:
            note = f"left out: pictures beyond {self.budget // 1_000_000} MB (--max-media)"
        return {"files": [file for file in files if file is not None], "video": media.video, "note": note}

    def _store(self, image: Image.Image, side: int) -> list[Any] | None:
        """Name and size of a stored picture; None where the budget is spent."""
        if self.spent >= self.budget:
            return None
        shown = image.convert("RGB")  # what the model sees: no transparency, no rotation by metadata
        shown.thumbnail((side, side))
        lossless = shown.width * shown.height <= _LOSSLESS
        buffer = io.BytesIO()
        if lossless:
            shown.save(buffer, "PNG")
        else:
            shown.save(buffer, "JPEG", quality=_QUALITY)
        content = buffer.getvalue()
        name = hashlib.sha256(content).hexdigest()[:20] + (".png" if lossless else ".jpg")
        if name not in self._sizes:
            if self.spent + len(content) > self.budget:
                self.spent = self.budget
                return None
            self._write(self.folder / name, content)
            self._sizes[name] = len(content)
            self.spent += len(content)
        return [name, shown.width, shown.height]

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise UsageError(f"{path} can't be written ({error.strerror}): choose another place with --out") from error
