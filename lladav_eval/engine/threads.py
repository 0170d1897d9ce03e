"""Computing threads of a process: how many, and how they wait for each other."""

from __future__ import annotations

import os
import sys

_ROUNDS = 4000
"""Of the loop in which GNU's OpenMP waits before it sleeps. Between two operations that is enough; its own 300,000 are
not needed, and 0 made single samples three times as slow."""


def wait_briefly() -> None:
    """Let threads soon sleep where they wait for each other, unless the environment says otherwise.

    Call it before torch is imported. Where other programs want the same processors, a thread that waits in a loop keeps
    the very thread from working that it waits for: beside other work, runs took up to forty times as long.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_ROUNDS))


def use_threads(most: int) -> None:
    """Computing threads of this process: ``most``, or fewer where OMP_NUM_THREADS says so.

    A larger number there was meant for one process; workers that take more than their share slow each other down.
    """
    wait_briefly()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    count = min(most, int(asked)) if asked.isdigit() and int(asked) else most
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)
