"""The embedded model in float32: the same files whatever the batch size, order, engine and number of workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from lladav_eval.cli.engines import choose_engine, model_loader
from lladav_eval.engine.base import Finished, Item, StartEngine
from lladav_eval.engine.local import LocalEngine
from lladav_eval.engine.processes import process_engine
from lladav_eval.records import Answerer, RunSpec
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory

TASKS = ("lladav_pocket_digits", "lladav_pocket_counts", "lladav_pocket_images", "lladav_pocket_video")
SPEC = RunSpec(TASKS, "pocket", limit=5, batch_size=3, dtype="float32", device="cpu")


class Backwards(LocalEngine):
    """Answers the last row first, tasks mixed."""

    def answer(self, items: Iterator[Item]) -> Generator[list[Finished], None, None]:
        for item in reversed(list(items)):
            yield from super().answer(iter([item]))


@pytest.fixture(scope="module")
def loaded() -> Callable[[], Answerer]:
    """The model in this process, loaded once."""
    model = model_loader(SPEC)()
    return lambda: model


@pytest.fixture(scope="module")
def expected(loaded: Callable[[], Answerer], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = RunDirectory(tmp_path_factory.mktemp("expected") / "run")
    execute(SPEC, loaded, directory)
    return directory


def without_measures(value: Any) -> Any:
    """The same without what is measured rather than answered: times and memory."""
    if isinstance(value, list):
        return [without_measures(item) for item in value]
    if isinstance(value, dict):
        kept = {name for name in value if not name.endswith("seconds") and name != "peak_memory"}
        return {name: without_measures(value[name]) for name in value if name in kept}
    return value


def journal(directory: RunDirectory) -> Any:
    """Everything recorded of the answers, in the order of the rows."""
    records = [json.loads(line)["record"] for line in directory.journal.read_text().splitlines()]
    return sorted(without_measures(records), key=lambda record: (record["task"], record["doc_id"]))


def samples(directory: RunDirectory) -> Any:
    return without_measures([json.loads(line) for line in directory.samples.read_text().splitlines()])


def check_same(directory: RunDirectory, expected: RunDirectory) -> None:
    assert samples(directory) == samples(expected)
    assert journal(directory) == journal(expected)
    assert len(journal(directory)) == 20


@pytest.mark.parametrize("size", [1, 32])
def test_batch_size(loaded: Callable[[], Answerer], expected: RunDirectory, tmp_path: Path, size: int) -> None:
    directory = RunDirectory(tmp_path / "run")
    execute(replace(SPEC, batch_size=size), loaded, directory)
    check_same(directory, expected)


def test_order(loaded: Callable[[], Answerer], expected: RunDirectory, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    execute(SPEC, loaded, directory, engine=Backwards)
    first = json.loads(directory.journal.read_text().splitlines()[0])["record"]
    assert (first["task"], first["doc_id"]) == (TASKS[-1], 4)
    check_same(directory, expected)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_two_workers(
    loaded: Callable[[], Answerer],
    expected: RunDirectory,
    tmp_path: Path,
    engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """And what they answered is used again by a run with another engine, batch size and device."""
    if engine == "ray":
        pytest.importorskip("ray", reason="the optional package ray isn't installed: pip install 'lladav_eval[ray]'")
        request.getfixturevalue("only_ray_here")
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
    spec = replace(SPEC, engine=engine, workers=2, batch_size=4, device=None)
    directory = RunDirectory(tmp_path / "run")
    start: StartEngine = choose_engine(spec, pytest.fail)
    if engine == "local":
        assert isinstance(start, partial)
        assert start.func is process_engine
    execute(spec, model_loader(spec), directory, engine=start)
    check_same(directory, expected)
    before = directory.journal.read_bytes()
    execute(SPEC, loaded, directory)
    assert directory.journal.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "engine"),
    [("Ctrl-C in the terminal", "local"), ("SIGTERM to the run alone", "local"), ("Ctrl-C in the terminal", "ray")],
)
def test_an_interrupted_run_ends_its_workers_and_resumes_without_them(
    loaded: Callable[[], Answerer], tmp_path: Path, way: str, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="the optional package ray isn't installed: pip install 'lladav_eval[ray]'")
        request.getfixturevalue("only_ray_here")
    directory = RunDirectory(tmp_path / "run")
    words = ["run", "--task", "pocket_counts", "--model", "pocket", "--batch-size", "1", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lladav_eval", *words, "--engine", engine, "--out", str(directory.path)],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (directory.journal.exists() and directory.journal.stat().st_size) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    if way.startswith("Ctrl-C"):
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "of 250 samples; resume with: lladav-eval run --task lladav_pocket_counts" in said
    assert "--workers 2" in said
    assert "Traceback" not in said
    _, running = psutil.wait_procs(workers, timeout=30)
    assert running == []
    answered = len(directory.journal.read_text().splitlines())
    assert 0 < answered < 250

    execute(RunSpec(("lladav_pocket_counts",), "pocket", limit=answered + 3), loaded, directory)
    lines = directory.journal.read_text().splitlines()
    rows = [json.loads(line)["record"]["doc_id"] for line in lines]
    assert set(range(answered + 3)) <= set(rows)
    assert len(rows) == len(set(rows)) <= answered + 6
