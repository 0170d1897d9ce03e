"""The key of a sample: a hash of everything that can change its answer, and of nothing else.

Batch size, order, device, workers, time limit and where the files lie are left out on purpose: they can't change an
answer in exact mode, so an answer given under other ones is used again.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from lladav_eval.errors import MediaError
from lladav_eval.records import Request, SamplingParams, VideoClip

if TYPE_CHECKING:
    from PIL.Image import Image

_OTHER_CODE = {
    "cli",
    "data",
    "engine",
    "planning",
    "pocket",
    "prompts",
    "reports",
    "runs",
    "scoring",
    "tasks",
    "errors.py",
    "interrupts.py",
}
"""Parts of the package whose code can't change the answer to a given question; anything new counts until named here.

What the code of prompts, of tasks and of the data room chooses is in the key itself: the text, the decoded pixels of
every picture, the bytes of every video and which part of it is shown.
"""

_PACKAGES = ("torch", "numpy", "pillow", "decord", "av", "tokenizers", "jinja2")
"""Libraries that turn a question into tensors and tensors into an answer. Those of other kinds of models stand in their
fingerprints."""


@cache
def code_version() -> str:
    """Hash of the source files that can change an answer."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0] not in _OTHER_CODE:
            content = file.read_bytes()
            digest.update(f"{name.as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


@cache
def package_versions() -> dict[str, str | None]:
    """Versions of those libraries, without the part that names the device they were built for."""
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def sample_key(
    fingerprint: str, request: Request | None, params: SamplingParams, text: str = ""
) -> tuple[str, str | None]:
    """Key of one sample, 32 hex digits, and hash of the media it shows, 16 hex digits; None where it shows none.

    ``request`` is None for a sample whose media can't be read; ``text`` is then its question. Such a key changes once
    the media become readable, so the sample is asked again.

    Raises MediaError when a video file can't be read.
    """
    images = [_image_hash(image) for image in request.images] if request else "unreadable"
    video = _video_hash(request.video) if request else None
    facts = {
        "fingerprint": fingerprint,
        "code": code_version(),
        "packages": package_versions(),
        "text": request.text if request else text,
        "mode": request.mode if request else None,
        "num_frames": request.num_frames if request else None,
        "images": images,
        "video": video,
        "params": vars(params),  # all plain values: asdict would copy them deeply for every sample
    }
    shows = request is not None and (request.images or request.video is not None)
    return _digest(facts)[:32], _digest([images, video])[:16] if shows else None


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _image_hash(image: Image) -> str:
    """Hash of mode, size and decoded pixels; the mode and palette stay in because conversion to RGB happens later."""
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode())
    try:
        if image.mode in ("P", "PA"):
            digest.update(repr(image.getpalette()).encode())
        digest.update(repr(image.info.get("transparency")).encode())
        digest.update(image.tobytes())
    except Exception as error:  # Pillow's decoders raise many kinds
        raise MediaError(f"the image can't be decoded: {error}") from error
    return digest.hexdigest()


def _video_hash(video: str | Path | VideoClip | tuple[Image, ...] | None) -> object:
    """Hash of a file's bytes, of a folder's files with their names, or of each frame; with the part that is shown."""
    if video is None:
        return None
    if isinstance(video, tuple):
        return [_image_hash(frame) for frame in video]
    if isinstance(video, VideoClip):
        return [_path_hash(Path(video.path)), video.start, video.end, video.fps]
    return _path_hash(Path(video))


def _path_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        for number, file in enumerate(files):
            if path.is_dir():
                digest.update(f"{number} {file.name} {file.stat().st_size}\n".encode())
            with file.open("rb") as content:
                while chunk := content.read(1 << 20):
                    digest.update(chunk)
    except OSError as error:
        raise MediaError(f"the video {path.name} can't be read: {error.strerror or error}") from error
    return digest.hexdigest()
