"""What holds in every worker: videos it can't see end the run, errors keep their words."""

from __future__ import annotations

from pathlib import Path

import pytest
from crew_models import PARAMS, Scripted, items

from lladav_eval.engine.worker import Fault, Worker
from lladav_eval.errors import CheckpointError, EnvironmentError_
from lladav_eval.records import Question, Request, VideoClip


@pytest.mark.parametrize("clip", [False, True])
def test_a_video_that_this_machine_cant_see_ends_the_run(tmp_path: Path, clip: bool) -> None:
    """The run's own process has read it, so a failed sample would hide a folder that isn't shared."""
    path = tmp_path / "clip.mp4"
    question = Question("a", 0, Request("?", video=VideoClip(path, 1, 2) if clip else path), PARAMS)
    worker = Worker(lambda: Scripted(tmp_path))
    for ask in (worker.answer, lambda asked: list(worker.parts(asked))):
        with pytest.raises(EnvironmentError_, match=r"can't see .*clip.mp4: videos must lie in a folder that all mach"):
            ask([question])
    assert not (tmp_path / "asked").exists()


def test_images_travel_with_their_question(tmp_path: Path) -> None:
    questions = [item.question for item in items(2) if item.question is not None]
    assert [answer.text for answer in Worker(lambda: Scripted(tmp_path)).answer(questions)] == [
        "row 0: (0, 0, 0)",
        "row 1: (1, 0, 0)",
    ]


def test_faults_become_the_error_they_were() -> None:
    known = Fault(CheckpointError, "layer 3 is missing").error()
    assert isinstance(known, CheckpointError)
    assert known.exit_code == 2
    assert str(known) == "layer 3 is missing"
    unforeseen = Fault(None, "KeyError: 3", "File x, line 7").error()
    assert type(unforeseen) is RuntimeError
    assert "File x, line 7" in str(unforeseen.__cause__)
