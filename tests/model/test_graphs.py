"""Steps replayed as graphs, on a pretended device: what a key stands for, and when a graph is given up."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from pretend_cuda import PretendGraph, pretend_cuda
from small_model import random_model, small_config
from torch import Tensor

from lladav_eval.model import graphs
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.graphs import StepGraphs
from lladav_eval.records import Query, Reuse

LENGTH, SIZE = 10, 16
NOTHING, ALL, ANSWER = torch.arange(0), torch.arange(LENGTH), torch.arange(6, LENGTH)
IDS = torch.arange(LENGTH)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[PretendGraph]]:
    """The graphs that were recorded."""
    found: list[PretendGraph] = []

    class Noted(PretendGraph):
        def __init__(self) -> None:
            super().__init__()
            found.append(self)

    with pretend_cuda():
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Noted)
        yield found


def bound(with_graphs: bool, prompts: int = 2) -> BoundPrompts:
    model = random_model(small_config(SIZE, 40, 64), 0, 0.4).to("cuda")
    model.cuda_graphs = with_graphs
    return BoundPrompts(model, [IDS[:6]] * prompts, [torch.zeros(0, SIZE, device="cuda")] * prompts)


def steps(several: list[list[Query]], asked: BoundPrompts) -> list[list[Tensor]]:
    with torch.inference_mode():
        return [[logits.cpu() for logits in asked(queries)] for queries in several]


def compare(several: list[list[Query]]) -> None:
    """Each step's logits with graphs and without."""
    for ours, plain in zip(steps(several, bound(True)), steps(several, bound(False)), strict=True):
        for one, other in zip(ours, plain, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def ask(sample: int, start: int, reuse: Reuse) -> Query:
    """About the last positions from ``start`` on, with ids of its own."""
    return Query(sample, (IDS + start) % 30, torch.arange(start, LENGTH), reuse)


def test_a_step_is_recorded_when_it_comes_again_and_replayed_from_then_on(recorded: list[PretendGraph]) -> None:
    first = [ask(0, 6, Reuse(ALL, NOTHING))]
    small = [[ask(0, start, Reuse(ANSWER, NOTHING))] for start in (6, 7, 8, 9)]
    compare([first, *small])
    assert [graph.replays for graph in recorded] == [3]


def test_what_is_computed_tells_graphs_apart(recorded: list[PretendGraph]) -> None:
    """Transfers, the branch of guidance, the sample and its fresh positions, in any order."""
    held = [Reuse(ALL, ANSWER, unconditional=branch) for branch in (False, True)]
    first = [[ask(sample, 6, reuse)] for sample in (0, 1) for reuse in held]
    kinds = [
        [ask(sample, 7, Reuse(NOTHING, ANSWER, transfers, unconditional=branch))]
        for sample in (0, 1)
        for branch in (False, True)
        for transfers in (1, 3)
    ]
    compare([*first, *(kind for kind in kinds for _ in range(3))])
    assert [graph.replays for graph in recorded] == [2] * 8
    recorded.clear()
    whole = [ask(0, 6, Reuse(ALL, NOTHING))]
    compare([whole, *[[ask(0, start, Reuse(torch.arange(start, LENGTH), NOTHING))] for start in (6, 7, 8)] * 3])
    assert [graph.replays for graph in recorded] == [2] * 3


def test_few_graphs_are_kept(recorded: list[PretendGraph]) -> None:
    kinds = [[ask(0, start, Reuse(torch.arange(start, LENGTH), NOTHING))] for start in range(4, 9)]
    asked = bound(True)
    steps([[ask(0, 6, Reuse(ALL, NOTHING))], *(kind for kind in kinds for _ in range(2))], asked)
    assert len(recorded) == 5
    steps(kinds[1:], asked)
    assert [graph.replays for graph in recorded] == [1, 2, 2, 2, 2]
    steps([kinds[0]] * 2, asked)
    assert len(recorded) == 6


def test_a_released_prompts_graphs_go(recorded: list[PretendGraph]) -> None:
    asked, plain = bound(True, 1), bound(False, 1)
    several = [[ask(0, 6, Reuse(ALL, NOTHING))], *[[ask(0, 7, Reuse(ANSWER, NOTHING))]] * 2]
    for _ in range(2):
        ours, theirs = steps(several, asked), steps(several, plain)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        for one in (asked, plain):
            one.release(0)
            one._put(IDS[:6], torch.zeros(0, SIZE, device="cuda"), 0.0)
    assert [graph.replays for graph in recorded] == [1, 1]


def test_graphs_dont_outlive_their_batch(recorded: list[PretendGraph]) -> None:
    """Nor wait for the garbage collector, which doesn't see how much of a GPU's memory they hold."""
    asked = bound(True)
    steps([[ask(0, 6, Reuse(ALL, NOTHING))], *[[ask(0, 7, Reuse(ANSWER, NOTHING))]] * 2], asked)
    there = weakref.ref(asked)
    gc.disable()
    try:
        del asked
        assert there() is None
    finally:
        gc.enable()
    assert len(recorded) == 1


def test_large_steps_and_exact_ones_are_left_alone(
    recorded: list[PretendGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lladav_eval.model.bound.MOST_ROWS", 3)
    again = [[ask(0, 7, Reuse(torch.arange(7, LENGTH), NOTHING))]] * 2
    steps([[ask(0, 6, Reuse(ALL, NOTHING))], *[[ask(0, 7, Reuse(ANSWER, NOTHING))]] * 3], asked := bound(True))
    assert not recorded
    steps(again, asked)
    assert len(recorded) == 1
    steps([[Query(0, IDS, ANSWER)]] * 3, bound(True))
    assert len(recorded) == 1


def test_the_pretended_graph_is_strict() -> None:
    """Nothing is computed while it is recorded, nothing may wait, and replaying reads what is there by then."""
    with pretend_cuda(), torch.inference_mode():
        there, sums = torch.arange(3.0).to("cuda"), torch.zeros(3).to("cuda")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            doubled = there[1:] * 2
            sums[1:] += doubled
        assert (sums.tolist(), doubled.isnan().all().item()) == ([0, 0, 0], True)
        for number in (1, 2):
            there.fill_(number)
            graph.replay()
            assert doubled.tolist() == [2 * number] * 2
        assert sums.tolist() == [0, 6, 6]
        for wait in (lambda: there.sum().item(), lambda: there.cpu(), lambda: torch.arange(3.0).to("cuda")):
            with (
                pytest.raises(RuntimeError, match="not permitted when stream is capturing"),
                torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode="thread_local"),
            ):
                wait()


def test_what_a_graph_reads_and_writes_stays_until_it_is_given_up() -> None:
    """The pretended graph would keep it alive by itself, a real one would read memory that is somebody else's."""
    with pretend_cuda(), torch.inference_mode():
        kept, compute = StepGraphs(), partial(torch.add, torch.ones(2).to("cuda"))
        for _ in range(2):
            x = torch.zeros(2).to("cuda")
            hidden = kept.run("step", x, partial(lambda given: given, compute))
        there = [weakref.ref(compute), weakref.ref(x), weakref.ref(hidden)]
        del compute, x, hidden
        assert all(one() is not None for one in there)
        kept.clear()
        assert all(one() is None for one in there)


def test_a_failed_recording_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(x: Tensor) -> Tensor:
        if broken:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x + 1

    broken = False
    with pretend_cuda(), torch.inference_mode():
        kept, x = StepGraphs(), torch.zeros(2).to("cuda")
        kept.run("step", x, lambda: compute)
        broken = True
        with pytest.raises(torch.OutOfMemoryError):
            kept.run("step", x, lambda: compute)
        broken = False
        assert [kept.run("step", x, lambda: compute).tolist() for _ in range(3)] == [[1, 1]] * 3
    assert graphs.MOST_ROWS >= 96  # an answer of the longest official setting


def test_a_graph_that_finds_no_memory_leaves_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows on another stream wouldn't wait for what went before."""

    def end(graph: PretendGraph) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pretend_cuda() as device, torch.inference_mode():
        kept, x = StepGraphs(), torch.zeros(2).to("cuda")
        kept.run("step", x, lambda: torch.neg)
        monkeypatch.setattr(PretendGraph, "end", end)
        with pytest.raises(torch.OutOfMemoryError):
            kept.run("step", x, lambda: torch.neg)
        assert device.stream == "default"
