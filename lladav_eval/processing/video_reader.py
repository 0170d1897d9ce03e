"""The processes that decode video files for this one: started at first use, started anew when they have ended.

A file that crashes a decoder ends such a process, not the run; one that holds it up for good is given up after a while.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lladav_eval.errors import MediaError
from lladav_eval.processing.decoding import LENGTH, SampledVideo
from lladav_eval.records import VideoClip

LONGEST = 900.0
"""Seconds that one video may take."""
_PIPE_BYTES = 1 << 20


class VideoReader:
    """One decoding process. Safe to use from several threads, which wait for each other."""

    def __init__(self, longest: float = LONGEST) -> None:
        self.longest = longest
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def read(self, clip: VideoClip, count: int, reader: str) -> SampledVideo:
        """``decode`` of decoding.py, in the other process. Raises MediaError as it does, and for a crash or a hang."""
        asked = {"clip": {**asdict(clip), "path": str(clip.path)}, "count": count, "reader": reader}
        with self._lock:
            process = self._running()
            try:
                return self._ask(process, json.dumps(asked).encode() + b"\n")
            except (TimeoutError, EOFError, BrokenPipeError) as error:
                self._end()
                took_long = isinstance(error, TimeoutError)
                what = f"takes longer than {self.longest:g} s" if took_long else "crashes the decoder"
                raise MediaError(f"{clip.path}: decoding it {what}; convert it to H.264, or remove it") from None
            except MediaError:  # a whole reply: the process is well
                raise
            except BaseException:  # Ctrl-C: a reply that is only half read would be taken for the next one
                self._end()
                raise

    def close(self) -> None:
        """End the process, in the middle of a video too: at the end of this one, nobody waits for a decoder."""
        process = self._process
        if process is not None and self._owner == os.getpid():
            process.kill()
        if self._lock.acquire(blocking=False):  # or else whoever reads finds out
            self._end()
            self._lock.release()

    def _running(self) -> subprocess.Popen[bytes]:
        """The process; a new one after a fork, whose child must not use its parent's."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            package = Path(__file__).resolve().parents[2]
            paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lladav_eval.processing.decoding"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # Ctrl-C is for this process; the other ends when this one does
            )
            self._owner = os.getpid()
            with contextlib.suppress(AttributeError, OSError):  # larger pipes are faster, where the system has them
                fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[arg-type]
        return self._process

    def _ask(self, process: subprocess.Popen[bytes], line: bytes) -> SampledVideo:
        assert process.stdin is not None
        process.stdin.write(line)
        deadline = time.monotonic() + self.longest
        (length,) = LENGTH.unpack(self._receive(process, LENGTH.size, deadline))
        reply: dict[str, Any] = json.loads(self._receive(process, length, deadline))
        if "error" in reply:
            raise MediaError(reply["error"])
        frames = [
            np.frombuffer(self._receive(process, int(np.prod(shape)), deadline), np.uint8).reshape(shape)
            for shape in reply["shapes"]
        ]
        return SampledVideo([frames[place] for place in reply["order"]], reply["indices"], reply["fps"])

    def _receive(self, process: subprocess.Popen[bytes], length: int, deadline: float) -> bytearray:
        """So many bytes. Raises EOFError, TimeoutError."""
        assert process.stdout is not None
        content = bytearray(length)
        rest = memoryview(content)
        while rest:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            count = process.stdout.readinto(rest)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            rest = rest[count:]
        return content

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


class VideoReaders:
    """As many decoding processes as threads read at the same time."""

    def __init__(self) -> None:
        self._all: list[VideoReader] = []
        self._idle: list[VideoReader] = []

    def read(self, clip: VideoClip, count: int, reader: str) -> SampledVideo:
        """``VideoReader.read`` by one that has nothing else to do."""
        try:
            chosen = self._idle.pop()
        except IndexError:
            chosen = VideoReader()
            self._all.append(chosen)
        try:
            return chosen.read(clip, count, reader)
        finally:
            self._idle.append(chosen)

    def close(self) -> None:
        """End the processes, in the middle of a video too."""
        for reader in self._all:
            reader.close()


_readers = VideoReaders()
atexit.register(_readers.close)


def decode_apart(clip: VideoClip, count: int, reader: str) -> SampledVideo:
    """Decode in one of the processes that everything in this one shares."""
    return _readers.read(clip, count, reader)
