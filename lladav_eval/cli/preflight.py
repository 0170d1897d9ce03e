"""What a run needs and this machine lacks, said in one line before anything is downloaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from lladav_eval.errors import EnvironmentError_

if TYPE_CHECKING:
    from lladav_eval.records import RunSpec

HUB_TIMEOUT = 5.0
"""Seconds the hub has to answer."""


def check(spec: RunSpec) -> None:
    """Weights, data and memory of a run on a hub model. Raises EnvironmentError_ naming all that is missing.

    Raises UsageError if recorded answers don't say which of several tasks they are for.
    """
    if spec.model.startswith("replay:") and len(spec.tasks) > 1:
        from lladav_eval.adapters.replay import ReplayAnswerer

        ReplayAnswerer(spec.model.removeprefix("replay:")).check(spec.tasks)
    from lladav_eval.model.checkpoint import HUB_NAME, OFFICIAL, OFFICIAL_SIZE

    if not HUB_NAME.fullmatch(spec.model) or Path(spec.model).expanduser().exists():
        return
    reachable = not spec.offline and _hub_answers()
    missing = []
    elsewhere = spec.engine == "ray"  # the nodes need weights and memory, this machine doesn't
    if not reachable and not elsewhere and not _is_cached(spec.model):
        size = f" ({OFFICIAL_SIZE})" if spec.model == OFFICIAL else ""
        missing.append(f"the weights of {spec.model}{size}")
    if spec.data is None and not reachable:
        missing += _missing_data(spec)
    if spec.model == OFFICIAL and not elsewhere:
        missing += _missing_memory(spec)
    if missing:
        why = "--offline" if spec.offline else "the hub can't be reached" if not reachable else "too small a machine"
        raise EnvironmentError_(
            f"this machine lacks {', '.join(missing)} ({why}); give what is here: --model DIR or pocket (make: "
            "MODEL=), --data DIR (make: DATA=); --offline uses only what was fetched before"
        )


def _hub_answers() -> bool:
    import httpx
    from huggingface_hub import constants

    try:
        httpx.head(constants.ENDPOINT, timeout=HUB_TIMEOUT)
    except httpx.HTTPError:
        return False
    return True


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _missing_data(spec: RunSpec) -> list[str]:
    """One entry per data set that was never fetched, with its size."""
    from lladav_eval.data.lock import read_lock
    from lladav_eval.data.recipe import read_recipe
    from lladav_eval.data.source import default_data_dir
    from lladav_eval.runs.tasks import read_task

    pinned = read_lock(default_data_dir())
    missing: dict[str, str] = {}
    for task in spec.tasks:
        recipe = read_recipe(read_task(task, spec.include_path))
        if recipe is not None and recipe.split.name not in pinned:
            size = "" if recipe.size_gb is None else f" (about {recipe.size_gb:g} GB)"
            missing[recipe.split.dataset] = f"the data set {recipe.split.dataset}{size}"
    return list(missing.values())


def _missing_memory(spec: RunSpec) -> list[str]:
    """Room for the official weights, once for every worker that shares it: two bytes a parameter, four in float32."""
    import psutil
    import torch

    on_gpu = torch.cuda.is_available() and spec.device != "cpu"
    wide = spec.dtype == "float32" or (spec.dtype is None and not on_gpu)
    copies = math.ceil((spec.workers or 1) / (torch.cuda.device_count() if on_gpu else 1))
    needed = 17 * (2 if wide else 1) * copies
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    if free >= needed * 1e9:
        return []
    kind = "GPU memory" if on_gpu else "memory (there is no GPU)"
    return [f"{needed} GB of {kind}, {free / 1e9:.0f} GB are free"]
