"""Halving a batch: order, reasons, and what is none of its business."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

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


def test_the_cpu_has_no_peak() -> None:
    watch_memory(CPU)
    assert peak_memory(CPU) is None
