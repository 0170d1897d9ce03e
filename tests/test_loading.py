"""Loading by name: devices, number types, and ways to launch kernels that this machine lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_checkpoint import write_checkpoint
from torch._inductor import config

import lladav_eval
from lladav_eval import SamplingParams
from lladav_eval.adapters.models import resolve_model
from lladav_eval.errors import EnvironmentError_, SettingError

PARAMS = SamplingParams(gen_length=8, block_length=4, steps=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def test_names_of_devices_and_types_are_checked(checkpoint: Path) -> None:
    with pytest.raises(SettingError, match="not a device"):
        lladav_eval.load(checkpoint, device="quantum")
    with pytest.raises(SettingError, match="choose one of float32"):
        lladav_eval.load(checkpoint, dtype="int8")
    with pytest.raises(SettingError, match="batch_size=0"):
        lladav_eval.load(checkpoint).generate([], PARAMS, batch_size=0)
    with pytest.raises(SettingError, match="cuda-graphs: device cpu has none"):
        lladav_eval.load(checkpoint, device="cpu", cuda_graphs=True)
    if not torch.cuda.is_available():
        with pytest.raises(EnvironmentError_, match="no such device"):
            lladav_eval.load(checkpoint, device="cuda")


def test_layers_that_cant_be_compiled_here_are_told_at_once(checkpoint: Path) -> None:
    told = r"for cpu here \(.*no-such-compiler.*install a C\+\+ compiler"
    torch.compiler.reset()  # so that nothing compiled before is used
    missing = config.patch({"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False})
    with missing, pytest.raises(EnvironmentError_, match=told):
        lladav_eval.load(checkpoint, device="cpu", compile_layers=True)


@pytest.mark.parametrize("name", ["hf:x", "openai:m@http://127.0.0.1:9/v1", "lmms:dummy", "replay:x.jsonl"])
def test_other_models_are_not_accelerated(name: str) -> None:
    with pytest.raises(SettingError, match="--accelerate is for LLaDA-V"):
        resolve_model(name, accelerate=("compile",))
