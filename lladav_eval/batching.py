"""Running a batch on a model that may run out of memory: halve it, down to one failed sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from lladav_eval.errors import SampleError
from lladav_eval.records import Generation

Item = TypeVar("Item")


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
        if not _is_out_of_memory(error):
            raise
        if len(batch) == 1:
            reason = "out of memory with this sample alone; use fewer frames or a device with more memory"
            return [Generation.failure(reason)]
    if device.type == "cuda":  # after the handlers: a traceback keeps the tensors of its frames alive
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    return answer_in_halves(batch[:middle], run, device) + answer_in_halves(batch[middle:], run, device)


def _is_out_of_memory(error: BaseException) -> bool:
    """CUDA has its own error class; the CPU allocator only words it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def watch_memory(device: torch.device) -> None:
    """Begin a new measurement of ``peak_memory``."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Most bytes allocated on a CUDA device since ``watch_memory``; None elsewhere."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
