"""Computing threads of a process: how many, and how they wait for each other."""

from __future__ import annotations

import os
import sys


def wait_passively() -> None:
    """Let threads sleep while they wait, unless OMP_WAIT_POLICY says otherwise; before torch is imported.

    By default they wait in a loop. Where other programs want the same processors, such a loop keeps from working the
    very thread that is waited for: runs took up to forty times as long beside other work (docs/performance.md).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(most: int) -> None:
    """Computing threads of this process: ``most``, or fewer where OMP_NUM_THREADS says so.

    A larger number there was meant for one process; workers that take more than their share slow each other down.
    """
    wait_passively()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    count = min(most, int(asked)) if asked.isdigit() and int(asked) else most
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)
