"""What hardware can do: a table of common devices, and a measurement of the machine at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from lladav_eval.errors import SettingError
from lladav_eval.model.kernels import uses_fast_kernels

GIB = 1 << 30
HERE = "here"


@dataclass(frozen=True)
class Hardware:
    """One device."""

    name: str
    tflops: float
    """Peak of dense matrix products in 16 bits, 10^12 operations a second."""
    tflops_float32: float
    """The same in float32, without the reduced-precision modes of tensor cores."""
    bandwidth: float
    """Of its memory, 10^9 bytes a second."""
    memory: float
    """GiB."""
    utilisation: float = 0.5
    """Share of the peak that whole models reach. An assumption: 0.4 to 0.6 is usual on GPUs at these sizes."""
    dispatch: float = 5e-6
    """Seconds to start one operation, which small models spend most of their time on."""
    device: str = "cuda"
    """Its type, as torch calls it: how many samples a run takes at once and what memory they need depends on it."""
    keeps_first_layer: bool = False
    """A CPU with AVX-512, on which float32 runs keep states of long prompts (model/first_layer.py)."""

    def peak(self, dtype: torch.dtype) -> float:
        """Operations a second in that type."""
        return 1e12 * (self.tflops_float32 if dtype == torch.float32 else self.tflops)


TABLE = {
    device.name: device
    for device in (
        # NVIDIA's datasheets, SXM where there is a choice. Their tensor-core figures with sparsity are halved here.
        # Memory is what nvidia-smi shows as total.
        Hardware("h200", 989, 67, 4800, 140.4),
        Hardware("h100", 989, 67, 3350, 79.6),
        Hardware("a100", 312, 19.5, 2039, 80.0),  # 80 GB
        Hardware("a100-40", 312, 19.5, 1555, 40.0),
        Hardware("l40s", 362, 91.6, 864, 45.0),
        Hardware("a40", 149.7, 37.4, 696, 45.0),
        # Ada and Ampere GPU architecture whitepapers; half precision accumulating in float32.
        Hardware("rtx4090", 165.2, 82.6, 1008, 24.0),
        Hardware("rtx3090", 71, 35.6, 936, 24.0),
        # A server of 16 cores: 2 fused operations on 8 floats per core and cycle at 3 GHz, four channels of DDR4-3200.
        # Most CPUs compute 16-bit types by way of float32 and are no faster in them.
        Hardware("cpu", 1.5, 1.5, 102, 64.0, utilisation=0.7, device="cpu"),
    )
}


def choose(name: str | None, tflops: float | None, bandwidth: float | None, memory: float | None) -> Hardware:
    """The device of that name, with figures of the user's own in place of the table's.

    Raises:
        SettingError: unknown name, or no name and a figure missing.
    """
    if name is not None and name not in TABLE:
        raise SettingError(
            f"--gpu {name!r}: not in the table; choose one of {', '.join((*TABLE, HERE))}, or give --tflops, "
            "--bandwidth and --memory"
        )
    if name is None and (tflops is None or bandwidth is None or memory is None):
        raise SettingError("name a device with --gpu (h100, a100, ..., here), or give --tflops, --bandwidth, --memory")
    base = Hardware("own", 0, 0, 0, 0) if name is None else TABLE[name]
    return with_own(base, tflops, bandwidth, memory)


def with_own(base: Hardware, tflops: float | None, bandwidth: float | None, memory: float | None) -> Hardware:
    """``base`` with the figures that are given."""
    changed = base
    if tflops is not None:
        changed = replace(changed, tflops=tflops, tflops_float32=tflops)
    if bandwidth is not None:
        changed = replace(changed, bandwidth=bandwidth)
    if memory is not None:
        changed = replace(changed, memory=memory)
    return changed if changed == base or base.name == "own" else replace(changed, name=f"{base.name}, adapted")


def measure(device: torch.device, dtype: torch.dtype) -> Hardware:
    """This machine, measured in a second or two: matrix products, copying, the cost of a small operation."""
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    side = 8192 if device.type == "cuda" else 1536
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    tflops = 2 * side**3 / _fastest(lambda: left @ right, wait) / 1e12
    source = torch.empty((512 if device.type == "cuda" else 64) << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.numel() / _fastest(lambda: target.copy_(source), wait) / 1e9
    small = torch.zeros(64, 64, device=device)
    dispatch = _fastest(lambda: [small.mul_(1.0) for _ in range(1000)], wait) / 1000
    memory, utilisation = _memory(device), 0.5 if device.type == "cuda" else 0.7
    with torch.no_grad():
        keeps = uses_fast_kernels(torch.zeros(1, device=device))
    return Hardware("this machine", tflops, tflops, bandwidth, memory, utilisation, dispatch, device.type, keeps)


def _memory(device: torch.device) -> float:
    """GiB in all on a GPU, available on a CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1] / GIB
    import psutil

    return float(psutil.virtual_memory().available) / GIB


def _fastest(work: Callable[[], object], wait: Callable[[], None], seconds: float = 0.4) -> float:
    """Shortest of the runs that fit into ``seconds``, after one to warm up."""
    work()
    wait()
    best, ends = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        started = time.perf_counter()
        work()
        wait()
        best = min(best, time.perf_counter() - started)
    return best
