"""Opening images that come from anywhere: decoded fully and strictly, or refused in one line."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from lladav_eval.errors import MediaError, one_line

MAX_PIXELS = 89_478_485
"""Largest image that is decoded: where Pillow starts to warn of decompression bombs (268 MB as RGB)."""

MAX_SIDE = 65_535
"""Longest side that is decoded, JPEG's own limit: scaling a line of millions of pixels takes gigabytes."""

_lock = threading.Lock()
_strict_users = 0
_outer_setting = False


def open_image(source: bytes | str | Path | Image.Image, name: str | None = None) -> Image.Image:
    """Decode one image. Its orientation and mode stay as they are in the file.

    Args:
        source: the file's bytes, its path, or an image that Pillow has opened (decoded or not).
        name: what to call the image in an error; the path, or "image", if not given.

    Raises:
        MediaError: if it is missing, empty, truncated, not an image, or larger than ``MAX_PIXELS`` or ``MAX_SIDE``.
            The size is checked before anything is decoded.
    """
    if isinstance(source, Image.Image):
        image, name = source, name or "image"
    else:
        image, name = _open_header(source, name)
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise _too_large(name, f"has {width} x {height} pixels")
    if width < 1 or height < 1:
        raise MediaError(f"{name}: has {width} x {height} pixels, so there is nothing to show; remove or replace it")
    try:
        with _strict_decoding():
            image.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly any kind of exception on broken data
        raise MediaError(f"{name}: truncated or damaged ({one_line(error)}); get the file again") from None
    return image


def _open_header(source: bytes | str | Path, name: str | None) -> tuple[Image.Image, str]:
    """Read only as much of the file as tells its format and size."""
    if isinstance(source, bytes | bytearray | memoryview):
        name = name or "image"
        content = bytes(source)
    else:
        path = Path(source)
        name = name or str(path)
        try:
            if path.exists() and not path.is_file():  # reading a pipe or a device may never end
                raise MediaError(f"{name}: can't be read (it is no plain file)")
            content = path.read_bytes()
        except FileNotFoundError:
            raise MediaError(f"{name}: no such image file") from None
        except OSError as error:
            raise MediaError(f"{name}: can't be read ({error.strerror})") from None
    if not content:
        raise MediaError(f"{name}: empty file (0 bytes); get the file again")
    try:
        # The lock is for catch_warnings, which changes state that all threads share.
        with _lock, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(content)), name
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_large(name, "is a decompression bomb") from None
    except UnidentifiedImageError:
        raise MediaError(f"{name}: not an image in a format Pillow can read ({len(content)} bytes)") from None
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise MediaError(f"{name}: damaged header ({one_line(error)}); get the file again") from None


@contextmanager
def _strict_decoding() -> Iterator[None]:
    """Refuse truncated files: lmms-eval switches Pillow to filling them up with grey (lmms_eval/api/task.py).

    The switch is global, so the first thread in turns it and the last one out puts it back.
    """
    global _strict_users, _outer_setting
    with _lock:
        if _strict_users == 0:
            _outer_setting = ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _strict_users += 1
    try:
        yield
    finally:
        with _lock:
            _strict_users -= 1
            if _strict_users == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = _outer_setting


def _too_large(name: str, what: str) -> MediaError:
    return MediaError(f"{name}: {what}; at most {MAX_PIXELS:,} and {MAX_SIDE:,} a side are allowed: scale it down")
