"""CUDA graphs: all kernels of a small step that comes again, launched by one call.

With an approximate cache most steps send few positions through the layers. A GPU is done with each of their kernels,
some thirty a layer, before the program has launched the next; a graph launches them all at once.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

MOST_ROWS = 512
"""Packed rows of a step; more keep a GPU busy without."""
_MOST_KEPT = 4
"""Graphs at a time; between two whole passes a cache has one or two kinds of steps."""

Compute = Callable[[Tensor], Tensor]
"""Hidden states (S, D) of packed embeddings (S, D), which may be overwritten; never waits for the device."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class _Recorded:
    """A graph with the tensors that its kernels read and write: they stay where they are."""

    graph: torch.cuda.CUDAGraph
    x: Tensor
    hidden: Tensor
    compute: Compute
    """Holds whatever else the kernels read."""


class StepGraphs:
    """The graphs of one batch. A step runs as usual when it is new, is recorded when it comes again, then replayed."""

    def __init__(self) -> None:
        self._new: dict[Hashable, Compute] = {}
        self._recorded: dict[Hashable, _Recorded] = {}

    def run(self, key: Hashable, x: Tensor, build: Callable[[], Compute]) -> Tensor:
        """``build()(x)``: hidden states (S, D), good until the next call.

        ``key`` says all that ``build`` depends on: under equal keys it computes the same on the same tensors, ``x``
        aside.
        """
        if key not in self._recorded:
            compute = self._new.pop(key, None)
            if compute is None:
                compute = build()
                _remember(self._new, key, compute)
                return compute(x)
            _remember(self._recorded, key, self._record(x, compute))
        recorded = self._recorded[key]
        recorded.x.copy_(x)
        recorded.graph.replay()
        return recorded.hidden

    def clear(self) -> None:
        """Forget everything, as tensors that graphs read are given up."""
        self._new.clear()
        self._recorded.clear()

    def _record(self, x: Tensor, compute: Compute) -> _Recorded:
        # Replayed one after another, graphs can share memory; a pool ends with the last graph that uses it.
        pool = next((other.graph.pool() for other in self._recorded.values()), None)
        # A capture that can't be ended (no memory for the graph, say) leaves torch on its stream; the outer context
        # doesn't.
        with torch.cuda.device(x.device), torch.cuda.stream(torch.cuda.current_stream(x.device)):
            graph = torch.cuda.CUDAGraph()
            # Threads that prepare the next samples may use the device meanwhile.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                hidden = compute(x)
        return _Recorded(graph, x, hidden, compute)


def _remember(kept: dict[Hashable, Value], key: Hashable, value: Value) -> None:
    if len(kept) == _MOST_KEPT:
        del kept[next(iter(kept))]
    kept[key] = value
