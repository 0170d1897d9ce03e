"""Halving a batch: order, reasons, and what is none of its business."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from lladav_eval import batching
from lladav_eval.batching import answer_in_halves, peak_memory, watch_memory
from lladav_eval.errors import EnvironmentError_, SampleError
from lladav_eval.records import Generation

CPU = torch.device("cpu")


def echo(batch: Sequence[int]) -> list[Generation]:
    return [Generation(text=str(item)) for item in batch]


def test_nothing_gives_nothing() -> None:
    assert answer_in_halves([], echo, CPU) == []


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_memory_halves_and_keeps_the_order(error: Exception) -> None:
    sizes: list[int] = []

    def run(batch: Sequence[int]) -> list[Generation]:
        sizes.append(len(batch))
        if len(batch) > 2 or 3 in batch:
            raise error
        return echo(batch)

    answers = answer_in_halves(range(5), run, CPU)
    assert [answer.text for answer in answers] == ["0", "1", "2", "", "4"]
    assert "out of memory" in (answers[3].error or "")
    assert sizes == [5, 2, 3, 1, 2, 1, 1]


@pytest.mark.parametrize(("device", "times"), [("cuda", 2), ("cpu", 0), ("meta", 0)])
def test_a_gpu_gets_its_cached_memory_back_before_the_halves(
    monkeypatch: pytest.MonkeyPatch, device: str, times: int
) -> None:
    told: list[int] = []
    freed: list[int] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(len(told)))

    def run(batch: Sequence[int]) -> list[Generation]:
        told.append(len(batch))
        if len(batch) > 1:
            raise MemoryError
        return echo(batch)

    answer_in_halves(range(3), run, torch.device(device))
    assert freed == [1, 3][:times]  # after three samples, and after the two of them that didn't fit either


def test_the_peak_of_a_gpu_is_what_torch_allocated_there(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: began.append(str(device)))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 * len(began))
    for device in ("cuda:1", "meta"):
        watch_memory(torch.device(device))
    assert began == ["cuda:1"]
    assert peak_memory(torch.device("cuda:1")) == 7
    assert peak_memory(torch.device("meta")) is None


def test_a_refused_sample_fails_with_its_reason_alone() -> None:
    def run(batch: Sequence[int]) -> list[Generation]:
        if 1 in batch:
            raise SampleError("too long")
        return echo(batch)

    answers = answer_in_halves(range(3), run, CPU)
    assert [(answer.status, answer.error) for answer in answers] == [("ok", None), ("failed", "too long"), ("ok", None)]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug"), EnvironmentError_("no network")])
def test_everything_else_is_raised(error: Exception) -> None:
    def run(batch: Sequence[int]) -> list[Generation]:
        raise error

    with pytest.raises(type(error)):
        answer_in_halves(range(3), run, CPU)


@pytest.mark.skipif(not batching._can_watch_resident(), reason="this system can't reset a process's peak memory")
def test_the_peak_on_the_cpu_is_that_of_the_last_watch() -> None:
    code = (
        "import torch; from lladav_eval.batching import peak_memory, watch_memory\n"
        "cpu = torch.device('cpu'); peaks = []\n"
        "for size in (0, 300, 0):\n"
        "    watch_memory(cpu); torch.ones(max(1, size * 2**18)); peaks.append(peak_memory(cpu) / 2**20)\n"
        "print(*peaks)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, large, after = map(float, out.split())
    assert before + 250 < large < before + 400
    assert after < large - 250


def test_where_the_peak_cant_be_reset_it_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(batching, "_CLEAR_REFS", tmp_path / "nowhere" / "clear_refs")
    batching._can_watch_resident.cache_clear()
    try:
        watch_memory(CPU)
        assert peak_memory(CPU) is None
    finally:
        batching._can_watch_resident.cache_clear()
