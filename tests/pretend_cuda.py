"""A CUDA device that is none: tensors that say they are on it, lie in main memory, and are as strict as there.

It shows on any machine whether tensors of different devices meet, whether what is made is made on the model's device,
and how often the program waits for the device. What real kernels compute, how fast and in how much memory, only the
tests marked ``gpu`` can show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
MEMORY = 80 << 30
"""Bytes of the device."""

_WAITING = {
    *("item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__"),
    *("nonzero", "argwhere", "equal", "allclose", "masked_select", "unique"),
}
"""Functions that can't go on before the device has a result."""


class OnCuda(Tensor):
    """Data of the device."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ != "__get__":
            raise RuntimeError(f"{func.__name__} of a tensor on cuda:0 in a thread that doesn't pretend to have one")
        with torch._C.DisableTorchFunctionSubclass():
            return _attribute(func, args)


class PretendCuda(TorchFunctionMode):
    """While active, ``cuda`` is a device for this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[str, int]] = []
        """What waited for the device, and how many operations it had been given since the last wait."""
        self._queued = 0
        self.recording: PretendGraph | None = None
        """The graph that is being captured."""
        self.stream = "default"
        """The current one."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return self._run(func, args, dict(kwargs or {}))

    def _run(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in (torch.device, torch._C._nn._parse_to):
            return func(*args, **kwargs)
        kwargs.pop("pin_memory", None)
        if isinstance(kwargs.get("device"), int):
            kwargs["device"] = CUDA  # by its number
        name, leaves = func.__name__, tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        there = any(isinstance(tensor, OnCuda) for tensor in tensors)
        if name == "__get__" and there:
            return _attribute(func, args)
        if name in ("to", "cpu", "cuda"):
            return self._moved(name, *args, **kwargs)
        if func is torch._has_compatible_shallow_copy_type and there:
            return False  # a module moved here gets new parameters
        if name == "copy_" and there:
            return self._copied(*args)
        if not there and not any(_is_cuda(leaf) for leaf in leaves):
            return func(*args, **kwargs)
        if there:
            self._check(name, args, tensors)
        self._queued += 1
        bare, options = tree_map(_bare, (args, kwargs))
        result = func(*bare, **options)
        if name in _WAITING:
            self._wait(name)
        return tree_map_only(Tensor, _as_cuda, result)

    def _check(self, name: str, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
        """Only numbers of main memory may take part, and indices of what is on the device."""
        if name in ("__getitem__", "__setitem__") and isinstance(args[0], OnCuda):
            indices = [leaf for leaf in tree_leaves(args[1]) if isinstance(leaf, Tensor)]
            if any(index.dtype == torch.bool or not isinstance(index, OnCuda) for index in indices):
                self._wait("index")  # a mask is looked through for its true places, a stranger is sent
            tensors = [value for value in args[2:] if isinstance(value, Tensor)]
        strangers = [tensor for tensor in tensors if not isinstance(tensor, OnCuda) and tensor.dim()]
        if strangers:
            raise RuntimeError(f"{name}: tensors on cuda:0 and cpu")

    def _moved(self, name: str, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``to``, ``cpu`` or ``cuda``; the same tensor where nothing changes."""
        there = wanted = isinstance(tensor, OnCuda)
        changed = tensor.as_subclass(Tensor)
        if name == "to":
            for given in (*args, *kwargs.values()):
                if isinstance(given, Tensor):
                    wanted = isinstance(given, OnCuda)
                elif isinstance(given, torch.device | str):
                    wanted = _is_cuda(given)
            changed = changed.to(*tree_map(_bare, args), **tree_map(_bare, kwargs))
        else:
            wanted = name == "cuda"
        if there != wanted:
            self._check_capture(name)
            changed = changed.clone()
            if not kwargs.get("non_blocking"):
                self._wait("to cuda" if wanted else "to cpu")
        elif changed.data_ptr() == tensor.data_ptr():
            return tensor
        return _as_cuda(changed) if wanted else changed

    def _copied(self, target: Tensor, source: Tensor) -> Tensor:
        if isinstance(target, OnCuda) != isinstance(source, OnCuda):
            self._wait("copy_")
        target.as_subclass(Tensor).copy_(source.as_subclass(Tensor))
        return target

    def _check_capture(self, name: str) -> None:
        if self.recording is not None:
            raise RuntimeError(f"{name}: operation not permitted when stream is capturing")

    @contextmanager
    def capture(self, graph: PretendGraph, pool: object = None, capture_error_mode: str = "global") -> Iterator[None]:
        """``torch.cuda.graph``; other threads work meanwhile, so only the thread-local mode will do."""
        assert capture_error_mode == "thread_local"
        before, self.stream, self.recording = self.stream, "capture", graph
        try:
            with graph.recorder:
                yield
        finally:
            self.recording = None
            graph.recorder.undo()
            graph.end()
            self.stream = before  # as in torch, not where the end fails

    @contextmanager
    def on(self, stream: str) -> Iterator[None]:
        """``torch.cuda.stream``."""
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    def _wait(self, name: str) -> None:
        self._check_capture(name)
        self.waits.append((name, self._queued))
        self._queued = 0


class PretendGraph:
    """``torch.cuda.CUDAGraph``: what was done during its capture, to be done again on the same tensors."""

    def __init__(self) -> None:
        self.recorder = _Recorder()
        self.replays = 0

    def end(self) -> None:
        """``capture_end``, which may raise."""

    def pool(self) -> tuple[int, int]:
        return (0, 1)

    def replay(self) -> None:
        self.replays += 1
        with torch._C.DisableTorchFunction():
            for func, args, kwargs, results in self.recorder.calls:
                again = tree_leaves(func(*args, **kwargs))
                for result, new in zip(tree_leaves(results), again, strict=True):
                    if isinstance(result, Tensor) and _address(result) != _address(new):
                        result.copy_(new)


class _Recorder(TorchDispatchMode):
    """Writes down every operation. A real capture computes nothing, so what was computed is undone at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self._made: dict[int, list[Tensor]] = {}
        """Results that lie in memory of their own, by its address."""
        self._overwritten: dict[int, tuple[Tensor, Tensor]] = {}
        """Memory from before the capture, by its address, with what it held."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = {_address(leaf): leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        if func._schema.is_mutable:
            for address, tensor in given.items():
                if address not in self._made and address not in self._overwritten:
                    whole = tensor.new_empty(0).set_(tensor.untyped_storage())
                    self._overwritten[address] = (whole, whole.clone())
        results = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, results))
        for result in tree_leaves(results):
            if isinstance(result, Tensor) and (_address(result) not in given or _address(result) in self._made):
                self._made.setdefault(_address(result), []).append(result)
        return results

    def undo(self) -> None:
        for whole, before in self._overwritten.values():
            whole.copy_(before)
        for results in self._made.values():
            for result in results:
                if result.is_floating_point():
                    result.fill_(torch.nan)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _attribute(func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    found = func(*args)
    if isinstance(found, Tensor):
        return _as_cuda(found)
    return CUDA if isinstance(found, torch.device) else found


def _is_cuda(value: Any) -> bool:
    return isinstance(value, torch.device | str) and str(value).startswith("cuda")


def _as_cuda(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, OnCuda) else tensor.as_subclass(OnCuda)


def _bare(value: Any) -> Any:
    """An argument as main memory knows it."""
    if isinstance(value, OnCuda):
        return value.as_subclass(Tensor)
    return CPU if _is_cuda(value) else value


@contextmanager
def pretend_cuda() -> Iterator[PretendCuda]:
    """One CUDA device of 80 GiB, until the block is left."""
    answers = {
        "is_available": True,
        "device_count": 1,
        "get_device_name": "a pretended GPU",
        "mem_get_info": (MEMORY, MEMORY),
        **dict.fromkeys(("memory_reserved", "memory_allocated", "max_memory_allocated"), 0),
        **dict.fromkeys(("reset_peak_memory_stats", "empty_cache", "synchronize")),
        "device": nullcontext(),
    }
    with pytest.MonkeyPatch.context() as patch, PretendCuda() as device:
        for function, value in answers.items():
            patch.setattr(torch.cuda, function, lambda *_, value=value: value)
        patch.setattr(torch.cuda, "CUDAGraph", PretendGraph)
        patch.setattr(torch.cuda, "graph", device.capture)
        patch.setattr(torch.cuda, "stream", device.on)
        patch.setattr(torch.cuda, "current_stream", lambda *_: device.stream)
        yield device
