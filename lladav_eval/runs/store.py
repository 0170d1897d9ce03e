"""The layout of a run directory, atomic writes, and the lock that keeps a second process out.

results/runs/<id>/
manifest.json     what was asked, of which model, code and packages; when and where
journal.jsonl     every answer, in the order given (runs/journal.py)
samples.jsonl     every sample with prompt, answer and score; written at the end
results.json      counts, metrics and intervals per task; written at the end
table.md          the printed table
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from lladav_eval.errors import EnvironmentError_, UsageError
from lladav_eval.records import RunSpec
from lladav_eval.runs.manifest import redact

DEFAULT_ROOT = Path("results") / "runs"


_FREE = (
    "batch_size", "device", "accelerate", "offline", "trace", "max_failures", "time_limit",
    "engine", "workers", "ray_address",
)  # fmt: skip
"""What may change from one session of a run to the next."""


def run_id(spec: RunSpec) -> str:
    """A readable name that is the same whenever the same thing is asked, so that a repeated command resumes."""
    facts = asdict(spec)
    for name in (*_FREE, *(() if spec.include_path else ("include_path",))):
        del facts[name]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    tasks = "+".join(name.removeprefix("lladav_") for name in spec.tasks)
    return f"{folder_name(spec.model)}-{_slug(tasks)}-{digest}"


def folder_name(name: str) -> str:
    """A model or a task as the name of a folder, without keys and addresses."""
    shown = redact(name).partition("@http")[0]  # of a model behind an address, its own name
    return _slug(Path(shown.removeprefix("openai:")).name or shown)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text)[:60].strip("._") or "run"


class RunDirectory:
    """A run directory on disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def table(self) -> Path:
        return self.path / "table.md"

    def create(self) -> None:
        """Make the directory and try to write in it, before any model is loaded. Raises UsageError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise UsageError(
                f"the results directory {self.path} can't be written ({error.strerror}): choose another one with --out"
            ) from error

    def remove_unused(self) -> None:
        """Remove the directory if a command that came to nothing made it: there is but a lock in it, or nothing."""
        with contextlib.suppress(OSError):
            if [path.name for path in self.path.iterdir()] == [".lock"]:
                (self.path / ".lock").unlink()
            self.path.rmdir()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory; the lock goes with the process, however it ends.

        Raises UsageError if it is taken, EnvironmentError_ if the file system has no locks.
        """
        import fcntl

        path = self.path / ".lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = path.read_text(errors="replace").strip() or "an unknown process"
                raise UsageError(
                    f"the run {self.path} is in use by {holder}: wait for it, or choose another --out"
                ) from error
            except OSError as error:
                raise EnvironmentError_(
                    f"the run {self.path} can't be locked ({error.strerror}): choose --out on a local disk"
                ) from error
            with contextlib.suppress(OSError):  # on a full disk the lock holds without a name in it
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"host {socket.gethostname()}, pid {os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def start_over(self) -> None:
        """Put the answers given so far aside as ``journal.previous.jsonl`` (the next time ``journal.previous.2.jsonl``,
        and so on) and remove the old results."""
        try:
            if self.journal.exists() and self.journal.stat().st_size:  # an empty one holds no answers
                names = (f"journal.previous{f'.{number}' * (number > 1)}.jsonl" for number in count(1))
                self.journal.rename(next(path for name in names if not (path := self.path / name).exists()))
            for path in (self.samples, self.results, self.table):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def write_json(self, path: Path, value: Any) -> None:
        """Replace a JSON file as a whole. Not-a-number is refused."""
        self.write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_lines(self, path: Path, values: Iterable[dict[str, Any]]) -> None:
        """Replace a JSON-lines file as a whole; the values may come from a generator."""
        lines = (json.dumps(value, allow_nan=False) + "\n" for value in values)
        self._replace(path, lines)

    def write_text(self, path: Path, text: str) -> None:
        """Replace a text file as a whole: a reader sees the old or the new content, never a part."""
        self._replace(path, [text])

    def _replace(self, path: Path, parts: Iterable[str]) -> None:
        temporary = path.with_name(path.name + ".tmp")
        try:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException as error:
            with contextlib.suppress(OSError):  # gives the room back
                temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _unwritable(path, error) from error
            raise


def _unwritable(path: Path, error: OSError) -> EnvironmentError_:
    return EnvironmentError_(
        f"{path} can't be written ({error.strerror}): make room or allow writing, then run the command again"
    )


def read_json(path: Path) -> Any:
    """Read a JSON file of a run. Raises UsageError naming the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}): is this a finished run directory?") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON ({error})") from error
