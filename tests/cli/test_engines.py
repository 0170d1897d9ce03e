"""Which engine the options choose, and what is checked where the model is loaded."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from lladav_eval.cli import engines, preflight
from lladav_eval.engine.local import LocalEngine
from lladav_eval.engine.processes import process_engine
from lladav_eval.errors import EnvironmentError_
from lladav_eval.records import RunSpec

POCKET = RunSpec(("lladav_pocket_digits",), "pocket")


def test_other_code_in_a_worker_is_refused_before_the_model_is_loaded() -> None:
    load: Any = engines.model_loader(POCKET)
    other = partial(load.func, *load.args[:-1], "code of yesterday")
    with pytest.raises(EnvironmentError_, match="another version of lladav_eval: install the same one"):
        other()


@pytest.mark.parametrize(
    ("options", "engine", "one_gpu_each"),
    [
        ({}, engines._start_here, None),
        ({"device": "cpu"}, LocalEngine, None),
        ({"workers": 1}, LocalEngine, None),
        ({"workers": 3}, process_engine, True),
        ({"workers": 3, "device": "cuda"}, process_engine, True),
        ({"workers": 3, "device": "cuda:1"}, process_engine, False),
        ({"workers": 3, "device": "cpu"}, process_engine, False),
    ],
)
def test_the_options_choose_the_engine(options: dict[str, Any], engine: object, one_gpu_each: bool | None) -> None:
    chosen: Any = engines.choose_engine(RunSpec(("t",), "pocket", **options), print)
    assert getattr(chosen, "func", chosen) is engine
    assert getattr(chosen, "keywords", {}).get("one_gpu_each") is one_gpu_each


def test_a_machine_of_many_gpus_is_told_how_to_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def said(count: int, **options: Any) -> list[str]:
        lines: list[str] = []
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        start = engines.choose_engine(RunSpec(("t",), **{"model": "pocket", **options}), lines.append)
        if getattr(start, "func", start) is not process_engine:
            start(object, 8)  # type: ignore[arg-type]
        return lines

    (line,) = said(4)
    assert "one of 4 GPUs answers; --workers 4 uses all of them" in line
    for quiet in ({"workers": 1}, {"workers": 4}, {"device": "cuda:2"}, {"device": "cpu"}, {"model": "replay:answers"}):
        assert said(4, **quiet) == []
    assert said(1) == []


def test_memory_is_needed_for_every_worker_here_and_for_none_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil
    import torch

    from lladav_eval.model.checkpoint import OFFICIAL

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 50e9}))
    monkeypatch.setattr(preflight, "_hub_answers", lambda: True)
    preflight.check(RunSpec(("t",), OFFICIAL))
    with pytest.raises(EnvironmentError_, match="lacks 68 GB of memory"):
        preflight.check(RunSpec(("t",), OFFICIAL, workers=2))
    preflight.check(RunSpec(("t",), OFFICIAL, workers=2, engine="ray"))
