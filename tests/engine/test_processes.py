"""Worker processes: same answers, deaths survived, errors in their own words, nothing left behind."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import crew_models
import pytest
from crew_models import Scripted, Streaming, alive, items, notes, wait_for
from PIL import Image

from lladav_eval.engine.base import Item
from lladav_eval.engine.processes import Processes, process_engine
from lladav_eval.errors import CheckpointError, EnvironmentError_
from lladav_eval.records import Generation, Question


def answers(model: Scripted, asked: list[Item], size: int = 3, workers: int = 2) -> tuple[list[list[int]], list[str]]:
    """Groups of rows as they came, and what was said; fails if an item came twice."""
    said: list[str] = []
    load = partial(crew_models.scripted, model)
    given: dict[int, Generation] = {}
    groups = []
    with process_engine(load, size, workers=workers, one_gpu_each=False, say=said.append) as engine:
        for group in engine.answer(iter(asked)):
            groups.append([item.doc_id for item, _ in group])
            for item, answer in group:
                assert item.doc_id not in given
                given[item.doc_id] = answer
    assert sorted(given) == [item.doc_id for item in asked]
    for item in asked:
        answer = given[item.doc_id]
        if answer.status == "ok":
            assert answer.text == f"row {item.doc_id}: ({item.doc_id}, 0, 0)"
    failures = [f"{row}: {answer.error}" for row, answer in sorted(given.items()) if answer.status == "failed"]
    return groups, said + failures


def asked_rows(folder: Path) -> list[int]:
    return sorted(int(line.split()[2]) for line in notes(folder / "asked"))


def test_two_processes_answer_every_item_once(tmp_path: Path) -> None:
    groups, said = answers(Scripted(tmp_path, together=2), items(14, unreadable=[4]))
    assert said == ["4: torn"]
    assert max(len(group) for group in groups) == 3
    assert asked_rows(tmp_path) == [row for row in range(14) if row != 4]
    pids = {line.split()[0] for line in notes(tmp_path / "asked")}
    assert len(pids) == 2
    assert str(os.getpid()) not in pids
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_replaced_and_its_batch_asked_again(tmp_path: Path) -> None:
    _, said = answers(Scripted(tmp_path, kill={4: 1}), items(12))
    (death,) = said
    assert death.startswith("worker ")
    assert "SIGKILL" in death
    assert re.search(r"its [36] samples are asked again$", death)  # with those of the batch behind, if it had one
    assert asked_rows(tmp_path) == sorted([*range(12), 3, 4])  # 5 hadn't been reached, nor the batch behind


def test_a_hung_worker_is_replaced_whatever_is_sent_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lladav_eval.engine.crew.QUIET", 1.0)
    large = [dataclasses.replace(item, question=with_large_picture(item)) for item in items(12)]
    load = partial(crew_models.scripted, Scripted(tmp_path, hang={4: 1}))
    said: list[str] = []
    with process_engine(load, 3, workers=2, one_gpu_each=False, time_limit=0.1, say=said.append) as engine:
        given = [item.doc_id for group in engine.answer(iter(large)) for item, answer in group if answer.status == "ok"]
    assert sorted(given) == list(range(12))
    assert [line for line in said if re.search(r"^worker \d hung: it was silent for . s; its [36] samples are", line)]
    (stopped,) = notes(tmp_path / "deaths-4")
    wait_for(lambda: not alive(int(stopped)))


def with_large_picture(item: Item) -> Question:
    """More than a pipe takes in."""
    assert item.question is not None
    request = dataclasses.replace(item.question.request, images=(Image.new("RGB", (2000, 1000)),))
    return dataclasses.replace(item.question, request=request)


def test_the_only_worker_is_replaced_too(tmp_path: Path) -> None:
    _, said = answers(Scripted(tmp_path, kill={0: 1, 5: 2}), items(6), workers=1)
    assert len(said) == 3
    assert len({line.split()[0] for line in notes(tmp_path / "asked")}) == 4


def test_a_sample_that_takes_every_worker_down_fails_alone(tmp_path: Path) -> None:
    _, said = answers(Scripted(tmp_path, kill={1: 99}), items(8))
    assert len(notes(tmp_path / "deaths-1")) == 3
    assert [line for line in said if line.startswith("1: 3 workers died over this sample, the last one: worker")]
    assert len(said) == 4


def test_a_streaming_model_sends_each_answer_at_once_and_keeps_those_it_sent_when_it_dies(tmp_path: Path) -> None:
    groups, said = answers(Streaming(tmp_path, kill={4: 1}), items(6), workers=1)
    assert all(len(group) == 1 for group in groups)
    assert len(said) == 1
    assert asked_rows(tmp_path).count(1) == 1  # it was sent before the death over row 4 of the same message


def test_a_worker_that_cant_load_says_why() -> None:
    with pytest.raises(CheckpointError, match="the weights of layer 3 are missing"):
        process_engine(crew_models.refuses_to_load, 3, workers=2, one_gpu_each=False)
    assert multiprocessing.active_children() == []


def test_a_question_that_a_worker_cant_take_in_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    broken = items(3)
    question = broken[1].question
    assert question is not None
    request = dataclasses.replace(question.request, images=(crew_models.Unpacked(),))
    broken[1] = dataclasses.replace(broken[1], question=dataclasses.replace(question, request=request))
    load = partial(crew_models.scripted, Scripted(tmp_path))
    with (
        process_engine(load, 3, workers=1, one_gpu_each=False) as engine,
        pytest.raises(RuntimeError, match="LookupError: no such picture here"),
    ):
        list(engine.answer(iter(broken)))
    assert multiprocessing.active_children() == []


def test_workers_that_die_while_loading_end_the_run() -> None:
    with pytest.raises(EnvironmentError_, match=r"while it loaded the model.*use fewer --workers"):
        process_engine(crew_models.dies_while_loading, 3, workers=2, one_gpu_each=False)
    assert multiprocessing.active_children() == []


def test_workers_with_different_models_are_refused(tmp_path: Path) -> None:
    engine = process_engine(partial(crew_models.differs_by_process, tmp_path), 3, workers=2, one_gpu_each=False)
    with engine, pytest.raises(EnvironmentError_, match="workers loaded different models: weights of"):
        list(engine.answer(until_noticed()))


def until_noticed() -> Iterator[Item]:
    for row in range(1000):
        yield items(row + 1)[row]
        time.sleep(0.05)


def test_an_unforeseen_error_of_a_worker_ends_the_run_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: row by zero") as caught:
        answers(Scripted(tmp_path, raise_on=4), items(9))
    assert "crew_models" in str(caught.value.__cause__)  # where it happened, for --debug
    assert multiprocessing.active_children() == []


def test_leaving_in_the_middle_ends_the_workers_at_once(tmp_path: Path) -> None:
    load = partial(crew_models.scripted, Scripted(tmp_path, seconds=60))
    with process_engine(load, 1, workers=2, one_gpu_each=False) as engine:
        groups = engine.answer(iter(items(4, unreadable=[1])))
        assert [item.doc_id for item, _ in next(groups)] == [1]  # while rows 0 and 2 are being answered
        wait_for(lambda: asked_rows(tmp_path) == [0, 2])
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []


def test_leaving_ends_what_a_worker_started(tmp_path: Path) -> None:
    load = partial(crew_models.with_stopped_child, tmp_path)
    with process_engine(load, 1, workers=1, one_gpu_each=False):
        (pid,) = notes(tmp_path / "children")
        assert alive(int(pid))
    wait_for(lambda: not alive(int(pid)))


def test_threads_and_gpus_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cpus = len(os.sched_getaffinity(0))
    for gpu in ("5", "MIG-7"):
        crew = Processes(partial(crew_models.scripted, Scripted(tmp_path)), 1, [gpu])
        try:
            assert crew.facts.description["CUDA_VISIBLE_DEVICES"] == gpu
            assert crew.facts.description["OMP_NUM_THREADS"] == str(cpus)
        finally:
            crew.close()
    monkeypatch.setattr("lladav_eval.engine.processes._cpus", lambda: 8)
    for asked, used in (("64", "4"), ("3", "3"), ("many", "4")):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        load = partial(crew_models.scripted, Scripted(tmp_path))
        with process_engine(load, 1, workers=2, one_gpu_each=False) as engine:
            assert engine.description()["OMP_NUM_THREADS"] == used


PARENT = """
import sys
from functools import partial
from pathlib import Path
import crew_models
from lladav_eval.engine.processes import process_engine

if __name__ == "__main__":
    load = partial(crew_models.scripted, crew_models.Scripted(Path(sys.argv[1]), seconds=60))
    with process_engine(load, 1, workers=2, one_gpu_each=False) as engine:
        list(engine.answer(iter(crew_models.items(4))))
"""


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    wait_for(lambda: len(notes(tmp_path / "asked")) == 2)
    workers = [int(line.split()[0]) for line in notes(tmp_path / "asked")]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not any(map(alive, workers)))
