"""manifest.json: what was asked, of which model, code and packages, when and where. Never a secret."""

from __future__ import annotations

import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import lladav_eval
from lladav_eval.engine.base import Engine
from lladav_eval.records import Answerer, RunSpec
from lladav_eval.runs.keys import code_version

PACKAGES = (
    "lladav_eval", "torch", "torchvision", "transformers", "tokenizers", "safetensors", "lmms-eval", "datasets",
    "pyarrow", "pandas", "numpy", "pillow", "decord", "av", "statsmodels", "huggingface_hub", "accelerate",
)  # fmt: skip
"""Whose versions are recorded; Pillow and the video decoders because they decide the pixels."""

_SECRETS = (
    (re.compile(r"(?<=://)[^/@\s]+@"), ""),
    (re.compile(r"(?i)(\bhttps?://[^\s?#'\",]+)[?#][^\s'\",]*"), r"\1"),
    (re.compile(r"(?i)\b(api[-_]?key|token|secret|password|access[-_]?key)=[^&,\s]+"), r"\1=REDACTED"),
    (re.compile(r"\b(?:(?:hf|ghp)_[A-Za-z0-9]{30,}|(?:sk|glpat)-[A-Za-z0-9_-]{20,})"), "REDACTED"),
)


_SECRET_VARIABLE = re.compile(r"(?i)(key|token|secret|password|passwd)$")
_SHORTEST_SECRET = 8
"""Shorter values of such variables are no keys, and would be found inside other words."""


def redact(text: str) -> str:
    """Remove user names and queries from addresses, ``key=`` values, well-known kinds of tokens, and every key that
    stands in the environment."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and value in text and _SECRET_VARIABLE.search(name):
            text = text.replace(value, "REDACTED")
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def redact_all(value: Any) -> Any:
    """The same for every text inside lists and mappings."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {str(name): redact_all(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_all(item) for item in value]
    return value


def now() -> str:
    """Coordinated universal time, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str | None]:
    """Version of every package that matters; None when it isn't installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def commit() -> dict[str, Any] | None:
    """Commit of the checkout this package runs from; None for an installed package or a tree without commits."""
    root = Path(lladav_eval.__file__).resolve().parents[1]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    head = git("rev-parse", "--verify", "HEAD")
    if top is None or head is None or Path(top).resolve() != root:
        return None
    return {"commit": head, "dirty": bool(git("status", "--porcelain"))}


def begin(
    spec: RunSpec, answerer: Answerer | Engine, tasks: Mapping[str, dict[str, Any]], previous: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The manifest of a run that starts now; the sessions of the ``previous`` one in the directory stay."""
    sessions = list(previous.get("sessions", [])) if previous else []
    sessions.append(
        {"started": now(), "ended": None, "status": "running", "host": socket.gethostname(), "session": len(sessions)}
    )
    facts = {
        "schema": 1,
        "spec": asdict(spec),
        "model": {"name": answerer.name, "fingerprint": answerer.fingerprint, **answerer.description()},
        "tasks": dict(tasks),
        "protocol": spec.protocol,
        "code": {"git": commit(), "answers": code_version()},
        "packages": versions(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "sessions": sessions,
    }
    cleaned: dict[str, Any] = redact_all(facts)
    return cleaned


def differences(manifest: Mapping[str, Any], spec: RunSpec) -> str:
    """What the run of a manifest was asked for in another way than ``spec`` asks, in words; "" for nothing."""
    before, asked = manifest.get("spec"), redact_all(asdict(spec))
    if not isinstance(before, Mapping):
        return ""
    shown = {"tasks": "task", "model": "model", "limit": "limit", "gen": "gen", "protocol": "protocol", "seed": "seed"}
    named = [
        f"{option} {_shown(before[name])}"
        for name, option in shown.items()
        if name in before and before[name] != asked[name]
    ]
    return ", ".join(named)


def _shown(value: Any) -> str:
    """A setting as the command line has it."""
    if not isinstance(value, list):
        return str(value)
    return ",".join("=".join(map(str, item)) if isinstance(item, list) else str(item) for item in value) or "none"


def end(manifest: dict[str, Any], status: str) -> dict[str, Any]:
    """The same manifest with its last session closed."""
    *earlier, last = manifest["sessions"]
    return {**manifest, "sessions": [*earlier, {**last, "ended": now(), "status": status}]}


def command(spec: RunSpec, directory: Path, retry_failed: bool = False) -> str:
    """The command that asks for the same run again, and so resumes it."""
    words: list[str] = ["lladav-eval", "run", "--task", ",".join(spec.tasks), "--model", spec.model]
    options: Sequence[tuple[str, object, object]] = (
        ("--limit", spec.limit, None), ("--batch-size", spec.batch_size, None), ("--protocol", spec.protocol, "strict"),
        ("--data", spec.data, None), ("--judge", spec.judge, None), ("--engine", spec.engine, "local"),
        ("--workers", spec.workers, None), ("--ray-address", spec.ray_address, None), ("--seed", spec.seed, None),
        ("--device", spec.device, None), ("--dtype", spec.dtype, None), ("--max-failures", spec.max_failures, None),
        ("--time-limit", spec.time_limit, None),
    )  # fmt: skip
    for name, value, default in options:
        if value != default:
            words += [name, str(value)]
    for folder in spec.include_path:
        words += ["--include-path", folder]
    for name in spec.accelerate:
        words += ["--accelerate", name]
    for name, text in spec.gen:
        words += ["--gen", f"{name}={text}"]
    words += ["--offline"] * spec.offline + ["--trace"] * spec.trace + ["--retry-failed"] * retry_failed
    return shlex.join([*map(redact, words), "--out", str(directory)])
