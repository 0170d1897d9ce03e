"""Which engine a run uses, and how any process of it loads the model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lladav_eval.engine.base import Engine, StartEngine
    from lladav_eval.records import Answerer, RunSpec


def model_loader(spec: RunSpec) -> Callable[[], Answerer]:
    """Loads the run's model in whichever process calls it."""
    from lladav_eval.runs.keys import code_version

    return partial(_load, spec, code_version())


def _load(spec: RunSpec, code: str) -> Answerer:
    """Raises EnvironmentError_ where other code is installed: its answers could be others."""
    from lladav_eval.cli.quiet import quiet_libraries
    from lladav_eval.errors import EnvironmentError_
    from lladav_eval.runs.keys import code_version

    if code_version() != code:
        raise EnvironmentError_("a worker has another version of lladav_eval: install the same one on all machines")
    quiet_libraries(spec.offline)
    from lladav_eval.adapters.models import resolve_model

    return resolve_model(
        spec.model,
        spec.device,
        spec.dtype,
        accelerate=spec.accelerate,
        batch_size=spec.batch_size,
        offline=spec.offline,
        trace=spec.trace,
        time_limit=spec.time_limit,
    )


def choose_engine(spec: RunSpec, say: Callable[[str], None]) -> StartEngine:
    """The engine that ``--engine`` and ``--workers`` ask for; ``say`` is told of idle GPUs, dead and silent workers.

    Raises SettingError for options that contradict each other, EnvironmentError_ if Ray isn't installed.
    """
    from lladav_eval.errors import SettingError

    one_gpu_each = spec.device in (None, "auto", "cuda")
    if spec.engine == "ray":
        if not one_gpu_each and spec.device != "cpu":
            raise SettingError(
                f"--device {spec.device}: Ray gives every worker a GPU of its own; say cuda, cpu or nothing"
            )
        from lladav_eval.engine.ray import check_installed, ray_engine

        check_installed()
        return partial(
            ray_engine,
            workers=spec.workers,
            address=spec.ray_address,
            one_gpu_each=one_gpu_each,
            time_limit=spec.time_limit,
            say=say,
        )
    if spec.ray_address is not None:
        raise SettingError("--ray-address needs --engine ray")
    if spec.workers is None or spec.workers == 1:
        from lladav_eval.engine.local import LocalEngine

        if spec.workers is None and one_gpu_each and not spec.model.startswith(("openai:", "replay:")):
            return partial(_start_here, say=say)
        return LocalEngine
    from lladav_eval.engine.processes import process_engine

    return partial(process_engine, workers=spec.workers, one_gpu_each=one_gpu_each, time_limit=spec.time_limit, say=say)


def _start_here(
    load_model: Callable[[], Answerer], batch_size: int, say: Callable[[str], None]
) -> AbstractContextManager[Engine]:
    """This process alone; ``say`` is told of GPUs that stay idle."""
    import torch

    from lladav_eval.engine.local import LocalEngine

    count = torch.cuda.device_count()
    if count > 1:
        say(f"one of {count} GPUs answers; --workers {count} uses all of them, --workers 1 says that one is enough")
    return LocalEngine(load_model, batch_size)
