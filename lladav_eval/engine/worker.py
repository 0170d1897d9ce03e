"""What a worker does, in a process of ours or on a node of a cluster: load the model, answer what it is sent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lladav_eval.engine.local import Streamer
from lladav_eval.errors import EnvironmentError_, EvalError
from lladav_eval.records import Answerer, Generation, Question, VideoClip

Part = list[tuple[int, Generation]]
"""Some answers of a batch, each with the position of its question."""


@dataclass(frozen=True)
class Facts:
    """What a worker loaded, and where."""

    name: str
    fingerprint: str
    description: dict[str, Any]
    host: str
    streams: bool
    """Whether answers come as they are finished instead of all together."""


@dataclass(frozen=True)
class Fault:
    """An error of a worker in a form that any process can read."""

    kind: type[EvalError] | None
    """None is an error nobody foresaw."""
    message: str
    trace: str = ""

    def error(self) -> Exception:
        """The error to raise in the run's process."""
        if self.kind is not None:
            return self.kind(self.message)
        error = RuntimeError(self.message)
        error.__cause__ = RuntimeError(f"in a worker:\n{self.trace}")
        return error


class Worker:
    """A loaded model that answers batches."""

    def __init__(self, load_model: Callable[[], Answerer]) -> None:
        self._answerer = load_model()

    def facts(self) -> Facts:
        model = self._answerer
        streams = hasattr(model, "stream")
        return Facts(model.name, model.fingerprint, model.description(), socket.gethostname(), streams)

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        """One answer per question, in order. Raises EnvironmentError_ if a video isn't on this machine."""
        _check_videos(questions)
        return self._answerer.answer(questions)

    def parts(self, questions: Sequence[Question]) -> Iterator[Part]:
        """The same as soon as there are some."""
        _check_videos(questions)
        if hasattr(self._answerer, "stream"):
            yield from cast(Streamer, self._answerer).stream(iter(questions))
        else:
            yield list(enumerate(self._answerer.answer(questions)))


def _check_videos(questions: Sequence[Question]) -> None:
    """Images travel with their question, videos by path; the run's own process has read each of them."""
    for question in questions:
        video = question.request.video
        path = video.path if isinstance(video, VideoClip) else video
        if isinstance(path, str | Path) and not Path(path).exists():
            raise EnvironmentError_(
                f"the worker on {socket.gethostname()} can't see {path}: "
                "videos must lie in a folder that all machines share, under the same path"
            )
