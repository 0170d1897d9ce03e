"""What ``lladav-eval doctor`` looks at on any machine. Nothing is left behind, and no secret is shown."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lladav_eval.errors import EvalError

REQUIRED = ("torch", "transformers", "tokenizers", "safetensors", "lmms-eval", "datasets", "pillow", "pyarrow")
MIN_FREE_GIB = 1.0
HUB_TIMEOUT = 5.0
"""Seconds the hub has to answer."""


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    """What to do when it is not ok."""
    required: bool = True
    """Whether no run, or not the run asked about, works without it."""


def clean(text: object) -> str:
    """Text of libraries and servers on one line, without keys and without anything that steers a terminal."""
    from lladav_eval.reports.escape import printable
    from lladav_eval.runs.manifest import redact

    return redact(printable(" ".join(str(text).split())))[:300]


def packages() -> list[Check]:
    """Python and every package whose version a run records."""
    import platform

    from lladav_eval.runs.manifest import versions

    fix = "install lladav_eval again: pip install lladav_eval"
    checks = [Check("python", True, f"{platform.python_version()} on {platform.platform()}")]
    for name, version in versions().items():
        if name not in ("decord", "av"):
            ok = version is not None or name not in REQUIRED
            checks.append(Check(name, ok, version or "not installed", fix, name in REQUIRED))
    return checks


def device(asked: str | None = None) -> Check:
    """What computes; a device that is asked for must be there."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("device", False, f"torch can't be imported ({clean(error)})", "install torch for this machine")
    if asked is not None:
        from lladav_eval.loading import choose_device

        try:
            choose_device(asked)
        except EvalError as error:
            found, _, fix = clean(error).partition("; ")
            return Check("device", False, found, fix or "use --device cpu")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        free, total = (value / 2**30 for value in torch.cuda.mem_get_info())
        found = f"{len(names)} x {names[0]}, {free:.1f} of {total:.1f} GiB free, CUDA {torch.version.cuda}"
        return Check("device", True, found)
    if torch.backends.mps.is_available():
        return Check("device", True, "Apple GPU (mps)")
    threads = torch.get_num_threads()
    found = f"CPU only, {threads} thread{'s' * (threads != 1)}"
    if any(Path("/dev").glob("nvidia[0-9]*")):
        fix = "torch doesn't see the NVIDIA GPU: update its driver, or install torch for the driver's CUDA version"
        return Check("device", False, f"{found}, torch {torch.__version__}, though there is an NVIDIA GPU", fix, False)
    return Check("device", False, found, "the 8B model needs a GPU; pocket does not", required=False)


def memory() -> Check:
    """Main memory, and what a container allows of it."""
    free, total = main_memory()
    found = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    return Check("memory", free > 2 * 2**30, found, "2 GiB free are needed: close something", required=False)


def main_memory() -> tuple[int, int]:
    """(free, total) bytes; a control group's limit counts where it is the smaller one."""
    import psutil

    machine = psutil.virtual_memory()
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit, or it is "max"
        return machine.available, machine.total
    return min(machine.available, max(0, limit - used)), min(machine.total, limit)


def disks() -> list[Check]:
    """Room and permission where runs, fetched data and fetched models go."""
    from huggingface_hub import constants

    from lladav_eval.data.source import DATA_VARIABLE, default_data_dir

    places = (
        ("disk", Path.cwd(), "run in another folder, or give --out", True),
        ("data cache", default_data_dir(), f"set ${DATA_VARIABLE} to a folder with room", False),
        ("model cache", Path(constants.HF_HUB_CACHE), "set $HF_HOME to a folder with room", False),
    )
    return [_disk(name, path, fix, required) for name, path, fix, required in places]


def _disk(name: str, path: Path, fix: str, required: bool) -> Check:
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Check(name, False, f"{path} can't be written ({error.strerror})", fix, required)
    free = free_gib(existing)
    return Check(name, free >= MIN_FREE_GIB, f"{free:.1f} GiB free in {path}", f"make room, or {fix}", required)


def free_gib(path: Path) -> float:
    """GiB free on the disk of an existing folder, or of the nearest one above it."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(existing).free / 2**30


def video() -> list[Check]:
    """The decoders, and whether they read a clip that is made for it."""
    checks = []
    for name in ("av", "decord"):
        there = importlib.util.find_spec(name) is not None
        found = "installed" if there else "not installed"
        other = "" if name == "av" else "; without it PyAV reads videos, more slowly"
        checks.append(Check(name, there, found + other * (not there), f"pip install {name}", required=False))
    program = shutil.which("ffmpeg")
    found = program or "no program of that name; PyAV and decord bring their own libraries, so nothing needs it"
    checks.append(Check("ffmpeg", True, found, required=False))
    if checks[0].ok:
        checks.append(_clip())
    return checks


def _clip() -> Check:
    import av
    import numpy as np

    from lladav_eval.errors import EvalError
    from lladav_eval.processing.video import read_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        try:
            with av.open(str(path), "w") as container:
                codec = "h264" if "libx264" in av.codecs_available else "mpeg4"
                stream: Any = container.add_stream("libx264" if codec == "h264" else codec, rate=5)
                stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
                for shade in (0, 255):
                    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
            frames = read_video(path, 2)
        except (EvalError, av.FFmpegError, OSError, ValueError) as error:
            return Check("video", False, clean(error), "pip install --force-reinstall av decord", required=False)
    ok = [round(float(frame.mean()) / 255) for frame in frames] == [0, 1]
    found = f"a {codec} clip of two frames is read {'back' if ok else 'wrongly'}"
    return Check("video", ok, found, "pip install --force-reinstall av decord", required=False)


def hub() -> Check:
    """Whether the hub answers, and whether a token is set; the token itself is never shown."""
    import httpx
    from huggingface_hub import constants

    fix = "only hub names need it: check the network or proxy, or use --offline with local checkpoints and data"
    token = "a token is set" if os.environ.get("HF_TOKEN") or Path(constants.HF_TOKEN_PATH).is_file() else "no token"
    try:
        httpx.head(constants.ENDPOINT, timeout=HUB_TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Check("hub", False, f"{clean(constants.ENDPOINT)} doesn't answer ({clean(error)})", fix, required=False)
    return Check("hub", True, f"{clean(constants.ENDPOINT)} answers, {token}")
