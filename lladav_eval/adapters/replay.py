"""Recorded answers in the place of a model: ``--model replay:FILE``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from lladav_eval.errors import UsageError
from lladav_eval.recorded import answer_of, doc_id_of, read_lines
from lladav_eval.records import Generation, Question

_PREFIX = "lladav_"
_SHOWN = 5
"""How many doubled answers an error names."""


class ReplayAnswerer:
    """Answers read from a JSON-lines file, one ``{"doc_id": 0, "prediction": "B"}`` a line.

    A line may also carry "task" (short or full name); then all must. Other keys are left alone. Lines of a run's
    samples.jsonl (a sample that failed there has no answer) and of lmms-eval's samples will do.

    Raises:
        UsageError: the file can't be read, a line isn't such an object (the line is named; a cut off last line too), or
            an answer is there twice (the doubled ids are named).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UsageError(f"the recorded answers {self.path} can't be read ({error.strerror})") from error
        self._digest = hashlib.sha256(content).hexdigest()
        self._answers = _read(self.path, content)
        self._has_tasks = any(task is not None for task, _ in self._answers)
        self._task: str | None = None  # the only task asked about, where the file names none

    @property
    def name(self) -> str:
        """How the model is called in tables."""
        return f"replay:{self.path.name}"

    @property
    def fingerprint(self) -> str:
        """Hash of the file."""
        return f"replay/{self._digest}"

    def description(self) -> dict[str, Any]:
        """For the run's manifest."""
        return {"name": self.name, "kind": "replay", "answers": len(self._answers), "sha256": self._digest}

    def check(self, tasks: Sequence[str]) -> None:
        """Raises UsageError if several tasks are asked, and the file doesn't say which its answers are for."""
        if len(tasks) > 1 and not self._has_tasks:
            raise UsageError(
                f"{self.path} doesn't say which task its answers are for, and {' and '.join(tasks)} are asked: "
                'add "task" to every line, or run one task'
            )

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        """The recorded answer of each question, in order; a question without one is a failed sample.

        Raises:
            UsageError: questions of several tasks, and the file doesn't say which task its answers are for.
        """
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Generation:
        task: str | None = None
        if self._has_tasks:
            task = question.task.removeprefix(_PREFIX)
        elif self._task not in (None, question.task):
            raise UsageError(
                f"{self.path} doesn't say which task its answers are for, and both {self._task} and {question.task} "
                'are asked: add "task" to every line, or run one task'
            )
        else:
            self._task = question.task
        text = self._answers.get((task, question.doc_id))
        if text is None:
            return Generation(
                text="",
                stop_reason="failed",
                status="failed",
                error=f"no answer recorded for {question.task}, doc_id {question.doc_id} in {self.path.name}",
            )
        return Generation(text=text)


def _read(path: Path, content: bytes) -> dict[tuple[str | None, int], str]:
    """(short task name or None, doc_id) -> answer."""
    answers: dict[tuple[str | None, int], str] = {}
    doubled: list[str] = []
    for where, line in read_lines(BytesIO(content), path):
        task, doc_id, text = _task(line, where), doc_id_of(line, where), answer_of(line, where)
        if text is None:
            continue
        if (task, doc_id) in answers:
            doubled.append(str(doc_id) if task is None else f"{doc_id} of {task}")
        answers[task, doc_id] = text
    if doubled:
        more = f" and {len(doubled) - _SHOWN} more" if len(doubled) > _SHOWN else ""
        raise UsageError(
            f"{path} has more than one answer for doc_id {', '.join(doubled[:_SHOWN])}{more}: keep one each"
        )
    if not answers:
        raise UsageError(f"{path} has no answers")
    if len({task is None for task, _ in answers}) > 1:
        raise UsageError(f'{path}: only some lines have a "task": give it in every line or in none')
    return answers


def _task(line: Mapping[str, Any], where: str) -> str | None:
    """The short name of the task that a line says it belongs to."""
    task = line.get("task")
    if task is not None and not isinstance(task, str):
        raise UsageError(f"{where}: task must be a name, not {task!r:.40}")
    return None if task is None else task.removeprefix(_PREFIX)
