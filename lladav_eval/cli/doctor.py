"""``lladav-eval doctor``: what this machine has, what would fail, and the fix."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

REQUIRED = ("torch", "transformers", "tokenizers", "safetensors", "lmms-eval", "datasets", "pillow", "pyarrow")
MIN_FREE_GB = 1.0


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    """What to do when it is not ok."""
    required: bool = True
    """Whether no run works without it."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Don't try to reach the hub.")] = False,
) -> None:
    """Check packages, device, memory, disk, video decoders and the hub. Exit code 3 when a run can't work."""
    checks = [*_packages(), _device(), _memory(), _disk(), *_video()]
    if not offline:
        checks.append(_hub())
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            typer.echo(f"{'ok  ' if check.ok else 'FAIL' if check.required else 'warn'}  {check.name}: {check.found}")
            if not check.ok:
                typer.echo(f"      fix: {check.fix}")
    if any(check.required and not check.ok for check in checks):
        raise typer.Exit(3)


def _packages() -> list[Check]:
    from lladav_eval.runs.manifest import versions

    fix = "install lladav_eval again: pip install lladav_eval"
    found = versions()
    return [
        Check(
            name, found[name] is not None or name not in REQUIRED, found[name] or "not installed", fix, name in REQUIRED
        )
        for name in found
        if name not in ("decord", "av")
    ]


def _device() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("device", False, f"torch can't be imported ({error})", "install torch for this machine")
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        return Check(
            "device", True, f"{torch.cuda.device_count()} x {device.name}, {device.total_memory / 2**30:.0f} GiB"
        )
    return Check(
        "device", False, f"CPU only, {torch.get_num_threads()} threads", "the 8B model needs a GPU; pocket does not",
        required=False,
    )  # fmt: skip


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    return Check(
        "memory", memory.available > 2 * 2**30, found, "2 GiB free are needed: close something", required=False
    )


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return Check(
        "disk", free >= MIN_FREE_GB, f"{free:.1f} GiB free here", f"make room: {MIN_FREE_GB:.0f} GiB are needed"
    )


def _video() -> list[Check]:
    return [
        Check(
            name,
            importlib.util.find_spec(name) is not None,
            "installed" if importlib.util.find_spec(name) else "not installed",
            f"video tasks need it: pip install {name}",
            required=False,
        )
        for name in ("decord", "av")
    ]


def _hub() -> Check:
    """A HEAD request to the hub's address, three seconds at most."""
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    fix = "only hub names need it: check the network or proxy, or use --offline with local checkpoints and data"
    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=3):
            return Check("hub", True, "reachable")
    except (urllib.error.URLError, OSError, ValueError) as error:
        return Check("hub", False, f"not reachable ({getattr(error, 'reason', error)})", fix, required=False)
