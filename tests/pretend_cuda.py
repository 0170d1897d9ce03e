"""A CUDA device that is none: tensors that say they are on it, lie in main memory, and are as strict as there.

It shows on any machine whether tensors of different devices meet, whether what is made is made on the model's device,
and how often the program waits for the device. What real kernels compute, how fast and in how much memory, only the
tests marked ``gpu`` can show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
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

    def _wait(self, name: str) -> None:
        self.waits.append((name, self._queued))
        self._queued = 0


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
    }
    with pytest.MonkeyPatch.context() as patch, PretendCuda() as device:
        for function, value in answers.items():
            patch.setattr(torch.cuda, function, lambda *_, value=value: value)
        yield device
