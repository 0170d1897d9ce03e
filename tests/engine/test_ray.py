"""Workers on a Ray cluster of two nodes on this machine: same answers, deaths of a worker and of a node survived."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import crew_models
import pytest
from crew_models import Scripted, alive, items, notes, wait_for

pytest.importorskip("ray", reason="the optional package ray isn't installed: pip install 'lladav_eval[ray]'")

from lladav_eval.engine.ray import ray_engine
from lladav_eval.engine.ray_cluster import cpus_each
from lladav_eval.errors import CheckpointError, EnvironmentError_
from lladav_eval.records import RunSpec
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory, read_json

sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))
import toy

FRAGILE_HEAD = """
import os, subprocess, sys

start = subprocess.Popen.__init__

def may_die(self, args, *others, **options):
    left = {folder!r} + "/deaths"
    if "--mode=specific-server" in args and os.path.exists(left) and (deaths := int(open(left).read())):
        open(left, "w").write(str(deaths - 1))
        args = ["false"]
    start(self, args, *others, **options)

if "--mode=proxy" in sys.orig_argv:
    subprocess.Popen.__init__ = may_die
"""
"""A ``sitecustomize`` with which servers of ``ray://`` clients die in their first moment, as often as a file says."""
HOST = "127.0.0.2"
"""Loopback under a name that Ray doesn't replace by the machine's own address."""
ONE_CPU: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": HOST}


class Nodes:
    """A head and a second node, of one CPU each."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
        head = {**ONE_CPU, "include_dashboard": False, "ray_client_server_port": port, "temp_dir": folder}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = str(self.cluster.address)
        self.client_address = f"ray://{HOST}:{port}"
        self.second: Any = None
        self._deaths = Path(folder) / "deaths"

    def let_client_servers_die(self, deaths: int) -> None:
        self._deaths.write_text(str(deaths))

    def complete(self) -> None:
        """Start the second node unless it is there."""
        if self.second is None:
            self.second = self.cluster.add_node(**ONE_CPU)

    def kill_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = None


@pytest.fixture(scope="module")
def cluster(only_cluster_here: None) -> Iterator[Nodes]:
    folder = tempfile.mkdtemp(prefix="ray-")  # the path of a socket must be short
    (Path(folder) / "sitecustomize.py").write_text(FRAGILE_HEAD.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        root = Path(__file__).parents[2]
        path = (folder, root, root / "tests/engine", root / "tests/runs")
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))
        patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")  # or servers of clients die when none should
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("OMP_NUM_THREADS", "64")  # for one process that has a node to itself
        started = Nodes(folder)
        yield started
        started.cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    cluster.complete()
    return cluster


def answers(model: Scripted, address: str, time_limit: float | None = None) -> list[str]:
    """Twelve items through two workers, each exactly once; gives what was said of deaths."""
    said: list[str] = []
    given: dict[int, str] = {}
    load = partial(crew_models.scripted, model)
    with ray_engine(load, 3, workers=2, address=address, time_limit=time_limit, say=said.append) as engine:
        assert engine.fingerprint == "scripted-1"
        for group in engine.answer(iter(items(12, unreadable=[7]))):
            for item, answer in group:
                assert item.doc_id not in given
                given[item.doc_id] = answer.text if answer.status == "ok" else str(answer.error)
    expected = {row: f"row {row}: ({row}, 0, 0)" for row in range(12)}
    assert given == {**expected, 7: "torn"}
    return said


@pytest.mark.slow
@pytest.mark.parametrize("client", [False, True], ids=["host:port", "ray://"])
def test_both_nodes_answer(nodes: Nodes, tmp_path: Path, client: bool) -> None:
    address = nodes.client_address if client else nodes.address
    said = answers(Scripted(tmp_path, together=2), address)
    assert not any("asked again" in line for line in said)
    pids = {line.split()[0] for line in notes(tmp_path / "asked")}
    assert len(pids) == 2
    assert str(os.getpid()) not in pids


@pytest.fixture
def brief_farewells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head keeps what belongs to a client that failed for a second instead of half a minute."""
    monkeypatch.setattr("ray.util.client.worker.DEFAULT_CLIENT_RECONNECT_GRACE_PERIOD", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("brief_farewells")
def test_a_client_whose_server_dies_at_once_tries_again(nodes: Nodes, tmp_path: Path) -> None:
    nodes.let_client_servers_die(1)
    said = answers(Scripted(tmp_path), nodes.client_address)
    assert said[0] == "Ray's server for this client died while it started; trying again (3 more)"


@pytest.mark.slow
@pytest.mark.usefixtures("brief_farewells")
def test_a_client_that_gives_up_says_why_and_can_join_otherwise(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lladav_eval.engine.ray_cluster.CLIENT_TRIES", 1)
    nodes.let_client_servers_die(1)
    said = f"{re.escape(nodes.client_address)} can't be used: RuntimeError: Starting Ray client server failed"
    with pytest.raises(EnvironmentError_, match=said):
        ray_engine(crew_models.refuses_to_load, 3, address=nodes.client_address)
    answers(Scripted(tmp_path), nodes.address)


@pytest.mark.slow
def test_a_worker_computes_on_the_cpus_it_was_given(nodes: Nodes, tmp_path: Path) -> None:
    load = partial(crew_models.scripted, Scripted(tmp_path))
    with ray_engine(load, 3, workers=2, address=nodes.address) as engine:
        assert engine.description()["OMP_NUM_THREADS"] == "1"


@pytest.mark.slow
def test_a_killed_worker_is_restarted_by_ray_and_its_batch_asked_again(nodes: Nodes, tmp_path: Path) -> None:
    said = answers(Scripted(tmp_path, kill={4: 1}), nodes.address)
    (death,) = (line for line in said if "asked again" in line)
    assert death.startswith("worker ")
    assert re.search(r"its [3-6] samples are asked again$", death)  # with those of the batch behind, if it had one
    rows = sorted(int(line.split()[2]) for line in notes(tmp_path / "asked"))
    assert rows == sorted([0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 3, 4])


@pytest.mark.slow
def test_a_hung_worker_is_restarted_by_ray(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lladav_eval.engine.crew.QUIET", 2.0)
    said = answers(Scripted(tmp_path, hang={4: 1}), nodes.address, time_limit=0.1)
    assert [line for line in said if re.search(r"hung: it was silent for \d+ s; its [3-6] samples are asked", line)]


@pytest.mark.slow
def test_a_worker_that_cant_load_says_why(nodes: Nodes) -> None:
    with pytest.raises(CheckpointError, match="the weights of layer 3 are missing"):
        ray_engine(crew_models.refuses_to_load, 3, workers=2, address=nodes.address)


@pytest.mark.slow
def test_leaving_in_the_middle_ends_the_workers_of_a_cluster_that_stays(nodes: Nodes, tmp_path: Path) -> None:
    load = partial(crew_models.scripted, Scripted(tmp_path, seconds=300))
    with ray_engine(load, 1, workers=2, address=nodes.address) as engine:
        groups = engine.answer(iter(items(4, unreadable=[1])))
        assert [item.doc_id for item, _ in next(groups)] == [1]  # while rows 0 and 2 are being answered
        wait_for(lambda: len(notes(tmp_path / "asked")) == 2)
    workers = [int(line.split()[0]) for line in notes(tmp_path / "asked")]
    wait_for(lambda: not any(map(alive, workers)))


@pytest.mark.slow
def test_a_run_outlives_a_killed_node_and_equals_a_local_one(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=12), monkeypatch)
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    spec = RunSpec(tasks=("lladav_toy_a", "lladav_toy_b"), model="toy", batch_size=3)
    local = RunDirectory(tmp_path / "local")
    execute(spec, partial(crew_models.scripted, Scripted(tmp_path / "local")), local)

    notes_folder = tmp_path / "workers"
    notes_folder.mkdir()
    said: list[str] = []
    killer = threading.Thread(target=kill_when_both_work, args=(nodes, notes_folder))
    killer.start()
    on_ray = RunDirectory(tmp_path / "ray")
    execute(
        spec,
        partial(crew_models.scripted, Scripted(notes_folder, seconds=0.3, together=2)),
        on_ray,
        engine=partial(ray_engine, workers=2, address=nodes.address, say=said.append),
    )
    killer.join()
    assert any("samples are asked again" in line for line in said), said
    assert on_ray.samples.read_bytes() == local.samples.read_bytes()
    results, expected = read_json(on_ray.results), read_json(local.results)
    for name in spec.tasks:
        assert results["tasks"][name]["n"] == 12
        assert results["tasks"][name]["failed"] == 0
        assert results["tasks"][name]["metrics"] == expected["tasks"][name]["metrics"]
    asked = [line.split(maxsplit=1)[1] for line in notes(notes_folder / "asked")]
    assert len(set(asked)) == 24
    assert 24 < len(asked) <= 24 + 3


def kill_when_both_work(nodes: Nodes, folder: Path) -> None:
    while len({line.split()[0] for line in notes(folder / "asked")}) < 2:
        time.sleep(0.02)
    nodes.kill_second()


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    with pytest.raises(EnvironmentError_, match=rf"no Ray cluster answers at {HOST}:9"):
        ray_engine(crew_models.refuses_to_load, 3, address=f"{HOST}:9")


@pytest.mark.parametrize(
    ("nodes_cpus", "workers", "each"),
    [
        ([16], 1, 16),
        ([16], 2, 8),
        ([8, 8], 2, 8),
        ([8, 4], 2, 4),
        ([8, 4], 3, 4),
        ([2], 4, 0.5),
        ([2], 3, 0.66),
        ([], 2, 1),
    ],
)
def test_cpus_are_shared_so_that_every_worker_finds_a_node(nodes_cpus: list[float], workers: int, each: float) -> None:
    assert cpus_each(nodes_cpus, workers) == each
