"""Toy runs whose disk fails in the middle: real errors of the kernel, in a process of its own.

    python faults.py FOLDER

FOLDER holds the toy tasks in ``tasks``. Every fault of FAULTS is played in a process of its own, forked from this one,
and leaves FOLDER/<fault>/result.json: what the run said, and what came out once the fault was mended and the same run
asked for again; or why this machine doesn't let the fault be made.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import toy

from lladav_eval.errors import EvalError
from lladav_eval.records import Generation, Question, RunSpec
from lladav_eval.runs import tasks as tasks_module
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory

SPEC = RunSpec(tasks=("lladav_toy_a", "lladav_toy_b"), model="toy", batch_size=3)


class Impossible(Exception):
    """This machine doesn't let the fault be made."""


class FaultyModel(toy.ToyModel):
    """Breaks something in its fourth batch; its answers take no time, so that files are equal to the byte."""

    fault: Callable[[], None] | None = None

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        if len(self.batches) == 3 and self.fault is not None:
            self.fault()
        return super().answer(questions)

    def _one(self, question: Question) -> Generation:
        generation = super()._one(question)
        object.__setattr__(generation, "seconds", 0.0)
        return generation


def system(*words: str) -> None:
    """A command that must work for the fault to be made."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"{' '.join(words[:2])}: {done.stderr.strip()}")


def full_disk(run: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """64 kB of memory as a disk, in a mount namespace that ends with this process; it is filled up, then grown."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000):  # CLONE_NEWNS
        raise Impossible(f"unshare: {os.strerror(ctypes.get_errno())}")
    system("mount", "--make-rprivate", "/")
    run.mkdir()
    system("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(run))

    def fill() -> None:
        with (run / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(b"x" * 512):
                pass

    def mend() -> None:
        system("mount", "-o", "remount,size=4m", str(run))
        (run / "filler").unlink()

    return fill, mend


def file_too_large(run: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """No file may grow (RLIMIT_FSIZE), which needs no privilege."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fault() -> None:
        size = (run / "journal.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))

    return fault, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def read_only_folder(run: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """The folder's mode forbids new files. The open journal can go on, so this shows at the end: results can't be made.

    Root passes over modes; the test takes that privilege (CAP_DAC_OVERRIDE) away.
    """
    run.mkdir()
    return lambda: run.chmod(0o555), lambda: run.chmod(0o755)


def frozen_journal(run: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """The journal itself becomes immutable (chattr), as on a disk that the kernel has made read-only."""

    def fault() -> None:
        system("chattr", "+i", str(run / "journal.jsonl"))

    return fault, lambda: system("chattr", "-i", str(run / "journal.jsonl"))


FAULTS = {make.__name__: make for make in (full_disk, file_too_large, read_only_folder, frozen_journal)}


def go(run: Path, model: toy.ToyModel) -> None:
    execute(SPEC, lambda: model, RunDirectory(run))


def play(name: str, folder: Path) -> dict[str, Any]:
    """The run with its fault, again while it lasts, and again once it is mended."""
    go(folder / "whole", FaultyModel())
    run = folder / "broken"
    fault, mend = FAULTS[name](run)
    model = FaultyModel()
    model.fault = fault
    out: dict[str, Any] = {}
    for what, asked in (("said", model), ("still", FaultyModel())):
        try:
            go(run, asked)
        except EvalError as error:
            out.update({what: str(error), f"{what}_code": error.exit_code})
        kept = (run / "journal.jsonl").read_bytes()
        out.update({f"{what}_kept": kept.count(b"\n"), f"{what}_torn": not kept.endswith(b"\n")})
    mend()
    last = FaultyModel()
    go(run, last)
    out["asked"] = len(last.asked)
    out["equal"] = all(
        (run / file).read_bytes() == (folder / "whole" / file).read_bytes()
        for file in ("samples.jsonl", "journal.jsonl")
    )
    results = [json.loads((path / "results.json").read_text()) for path in (run, folder / "whole")]
    out["equal"] &= results[0].keys() == results[1].keys()
    out["equal"] &= all(results[0][name] == results[1][name] for name in results[0] if name != "date")
    out["left"] = sorted(path.name for path in run.iterdir())
    return out


def main() -> None:
    folder = Path(sys.argv[1])
    tasks_module.tasks_dir = lambda: folder / "tasks"
    for name in FAULTS:
        (folder / name).mkdir()
        child = os.fork()
        if child == 0:
            try:
                result = play(name, folder / name)
            except Impossible as error:
                result = {"impossible": str(error)}
            except BaseException:
                result = {"traceback": traceback.format_exc()}
            (folder / name / "result.json").write_text(json.dumps(result))
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
