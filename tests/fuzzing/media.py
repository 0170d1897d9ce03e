"""Bad pictures and videos."""

from __future__ import annotations

import io
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from fuzzing.inputs import BYTES, Target, mutated, refused
from hypothesis import strategies as st
from PIL import Image

from lladav_eval.media import open_image
from lladav_eval.processing.video import sample_video


@cache
def pictures() -> list[bytes]:
    """A good picture in every format that this Pillow writes; PNG is the first."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    found = []
    for mode, kinds in {
        "RGB": ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000", "PCX", "SGI", "AVIF"),
        "P": ("GIF", "PNG"),
        "RGBA": ("PNG", "TIFF"),
    }.items():
        for kind in kinds:
            buffer = io.BytesIO()
            try:
                Image.fromarray(pixels).convert(mode).save(buffer, kind)
            except (OSError, KeyError):  # this Pillow was built without it
                continue
            found.append(buffer.getvalue())
    return found


def check_picture(content: bytes, folder: Path) -> None:
    """A picture that is opened can also be used."""
    image = refused(lambda: open_image(content, "a picture"))
    if image is not None:
        image.convert("RGB").resize((8, 8))


@cache
def _videos() -> list[bytes]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for codec, name in (("libx264", "a.mp4"), ("mpeg4", "a.avi"), ("libvpx", "a.webm"), ("mpeg4", "a.mkv")):
            path = Path(folder) / name
            try:
                with av.open(str(path), "w") as container:
                    stream: Any = container.add_stream(codec, rate=5)
                    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
                    for shade in range(0, 250, 50):
                        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
                        container.mux(stream.encode(frame))
                    container.mux(stream.encode())
            except (av.FFmpegError, ValueError):  # no such encoder here
                continue
            found.append(path.read_bytes())
    return found


def check_video(content: bytes, folder: Path) -> None:
    path = folder / "a.mp4"
    path.write_bytes(content)
    found = refused(lambda: sample_video(path, 4))
    assert found is None or len(found.frames) == 4


TARGETS: dict[str, Target] = {
    "pictures": Target(st.deferred(lambda: mutated(pictures()) | BYTES), check_picture, isolated=True),
    "videos": Target(st.deferred(lambda: mutated(_videos()) | BYTES), check_video),
}
