from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from lladav_eval import media
from lladav_eval.errors import MediaError
from lladav_eval.media import MAX_PIXELS, open_image


def noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be of this size and breaks off within its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + (struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))
        + (struct.pack(">I", 1000) + b"IDAT" + zlib.compress(bytes(100)))
    )


@pytest.mark.parametrize("as_path", [str, Path, None])
def test_opens_bytes_and_paths_decoded(tmp_path: Path, as_path: type | None) -> None:
    image = noise()
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image))
    source = path.read_bytes() if as_path is None else as_path(path)
    opened = open_image(source)
    path.unlink()
    assert np.array_equal(np.asarray(opened), np.asarray(image))


def test_orientation_and_mode_stay(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    assert open_image(encoded(noise(), "JPEG", exif=exif)).size == (64, 48)
    assert open_image(encoded(noise().convert("LA"))).mode == "LA"


@pytest.mark.parametrize("lenient", [True, False])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP"])
def test_truncated_is_refused_even_where_lmms_eval_made_pillow_lenient(
    kind: str, lenient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    content = encoded(noise(), kind)
    with pytest.raises(MediaError) as caught:
        open_image(content[: len(content) * 2 // 3], "photo 1")
    assert str(caught.value).startswith("photo 1: ")
    assert "\n" not in str(caught.value)
    assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES


def test_lazily_opened_truncated_image_is_refused() -> None:
    content = encoded(noise())
    lazy = Image.open(io.BytesIO(content[: len(content) // 2]))
    with pytest.raises(MediaError, match="truncated or damaged"):
        open_image(lazy)


def test_damaged_pixels_are_refused() -> None:
    content = bytearray(encoded(noise()))
    middle = content.index(b"IDAT") + 40
    content[middle : middle + 100] = bytes(100)
    with pytest.raises(MediaError, match="truncated or damaged"):
        open_image(bytes(content))


def test_empty_missing_and_no_image(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    empty.touch()
    text.write_text("not an image\n" * 100)
    for path, reason in (
        (empty, "empty file"),
        (text, "not an image"),
        (tmp_path / "absent.png", "no such"),
        (tmp_path, "can't be read"),
        (Path("/dev/null"), "can't be read"),
    ):
        with pytest.raises(MediaError, match=reason) as caught:
            open_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(MediaError, match="empty file"):
        open_image(b"")
    with pytest.raises(MediaError, match="nothing to show"):
        open_image(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("size", [(100_000, 100_000), (20_000, 9_000), (9_460, 9_460), (70_000, 1)])
def test_enormous_is_refused_from_its_header_without_a_warning(size: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MediaError, match="at most 89,478,485"):
            open_image(png_header(*size))


def test_enormous_is_refused_before_decoding_whatever_pillow_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # some lmms-eval tasks lift Pillow's own limit
    lazy = Image.open(io.BytesIO(png_header(20_000, 9_000)))
    monkeypatch.setattr(lazy, "load", lambda: pytest.fail("decoded"))
    with pytest.raises(MediaError, match="20000 x 9000 pixels"):
        open_image(lazy)
    with pytest.raises(MediaError, match="20000 x 9000 pixels"):
        open_image(png_header(20_000, 9_000))


def test_largest_allowed_size_is_not_refused_for_its_size() -> None:
    width = 10_000
    with pytest.raises(MediaError, match="truncated"):  # there are no pixels behind the header
        open_image(png_header(width, MAX_PIXELS // width))


def test_threads_leave_pillows_setting_as_they_found_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = encoded(noise())
    failures: list[str] = []

    def work(content: bytes, fails: bool) -> None:
        for _ in range(30):
            try:
                open_image(content)
                failed = False
            except MediaError:
                failed = True
            if failed != fails:
                failures.append("accepted a truncated image" if fails else "refused a whole one")

    threads = [
        threading.Thread(target=work, args=(whole if i % 2 else whole[: len(whole) // 2], i % 2 == 0)) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert media._strict_users == 0
