"""Running a batch on a model that may run out of memory: halve it, down to one failed sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch

from lladav_eval.errors import SampleError
from lladav_eval.records import Generation

Item = TypeVar("Item")

OUT_OF_MEMORY = "out of memory with this sample alone; use fewer frames or a device with more memory"
_WORDED = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def answer_in_halves(
    batch: Sequence[Item], run: Callable[[Sequence[Item]], list[Generation]], device: torch.device
) -> list[Generation]:
    """``run(batch)``; where memory runs out or a sample is refused, the two halves one after the other.

    Args:
        batch: samples, made ready.
        run: answers them in order; may raise SampleError if any one of them can't be answered.
        device: whose cached memory is given back before the halves are tried.

    Raises:
        whatever else ``run`` raises: only memory and SampleError are turned into failed samples.
    """
    if not batch:
        return []
    try:
        return run(batch)
    except SampleError as error:
        if len(batch) == 1:
            return [Generation.failure(str(error))]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(batch) == 1:
            return [Generation.failure(OUT_OF_MEMORY)]
    release_memory(device)  # after the handlers: a traceback keeps the tensors of its frames alive
    middle = len(batch) // 2
    return answer_in_halves(batch[:middle], run, device) + answer_in_halves(batch[middle:], run, device)


def release_memory(device: torch.device) -> None:
    """Give cached memory back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """torch has a class for its CUDA allocator's errors; other allocators, and CUDA's libraries, only word theirs."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in _WORDED)


def watch_memory(device: torch.device) -> None:
    """Begin a new measurement of ``peak_memory``."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "cpu" and _can_watch_resident():
        _reset_resident_peak()


def peak_memory(device: torch.device) -> int | None:
    """Most bytes in use since ``watch_memory``; None where the system doesn't tell.

    On CUDA what torch had allocated there; on the CPU what the whole process had in memory, the interpreter included.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _resident_peak() if device.type == "cpu" and _can_watch_resident() else None


def _reset_resident_peak() -> bool:
    """Make the process's peak what it holds now (Linux, proc(5): clear_refs); False where that can't be done."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


@lru_cache(1)
def _can_watch_resident() -> bool:
    return _reset_resident_peak() and _resident_peak() is not None


def _resident_peak() -> int | None:
    """Bytes, from VmHWM, which is in KiB (proc(5))."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
