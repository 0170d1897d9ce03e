"""Loading a checkpoint by name: onto which device, in which number type."""

from __future__ import annotations

from pathlib import Path

import torch

from lladav_eval.errors import EnvironmentError_, SettingError
from lladav_eval.model.checkpoint import find_checkpoint, load_model
from lladav_eval.model.config import read_config
from lladav_eval.pipeline import LladaV
from lladav_eval.processing.chat import ChatTokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    name_or_dir: str | Path,
    device: str | None = None,
    dtype: str | None = None,
    *,
    offline: bool = False,
    compile_layers: bool = False,
    cuda_graphs: bool = False,
) -> LladaV:
    """Load a checkpoint: ``pocket``, ``pocket-ar``, a directory, or a hub name such as ``GSAI-ML/LLaDA-V``.

    Args:
        name_or_dir: which checkpoint.
        device: ``cuda``, ``cuda:1``, ``cpu``, ``mps``; default: CUDA when present, else CPU.
        dtype: ``float32``, ``bfloat16`` or ``float16``; default: bfloat16 on CUDA, float32 elsewhere.
        offline: never touch the network.
        compile_layers: run all of the transformer layers but attention through ``torch.compile``.
        cuda_graphs: launch the small steps of an approximate cache as CUDA graphs (model/graphs.py).

    Raises:
        CheckpointError: if the checkpoint can't be loaded as it stands.
        EnvironmentError_: if the device or the hub is missing, or the layers can't be compiled here.
        SettingError: if the device or type name means nothing, or there are no graphs for the device or the model.
    """
    target = choose_device(device)
    precision = choose_dtype(dtype, target)
    if cuda_graphs and target.type != "cuda":
        raise SettingError(f"cuda-graphs: device {target.type} has none; use --device cuda, or leave it out")
    if target.type == "cuda":
        _set_up_cuda()
    directory = find_checkpoint(str(name_or_dir), offline)
    config = read_config(directory)
    if cuda_graphs and config.causal:
        raise SettingError(f"cuda-graphs: {name_or_dir}, an autoregressive model, has none; leave it out")
    tokenizer = ChatTokenizer.from_dir(directory)
    model = load_model(directory, config, len(tokenizer), target, precision)
    if compile_layers:
        _check_compiler(target)
        model.compile_layers()
    model.cuda_graphs = cuda_graphs
    return LladaV(model, tokenizer, directory, str(name_or_dir))


def _set_up_cuda() -> None:
    """Settings of torch for the whole process.

    cuDNN's attention, torch's first choice on Hopper, makes a plan for every new pair of lengths, and lengths change
    with every batch and step here; flash attention doesn't. And float32 means float32, also in the patch embedding.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _check_compiler(device: torch.device) -> None:
    """Raises EnvironmentError_ where ``torch.compile`` can't build anything, before a sample is lost to it."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(1, device=device))
    except RuntimeError as error:
        why = " ".join(str(error).split("\n")[0].split())[:200]
        raise EnvironmentError_(
            f"compile: torch.compile doesn't work for {device.type} here ({why}); "
            "install a C++ compiler such as g++, or leave it out"
        ) from error


def choose_device(name: str | None) -> torch.device:
    """The device of that name, or the best one here."""
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingError(f"device={name!r}: not a device; use cuda, cuda:N, cpu or mps") from None
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise EnvironmentError_(f"device={name!r}: this machine has no such device; drop --device or use --device cpu")
    if device.type not in ("cuda", "cpu", "mps"):
        raise SettingError(f"device={name!r}: not supported; use cuda, cuda:N, cpu or mps")
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The type of that name, or the default of the device."""
    if name is None or name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise SettingError(f"dtype={name!r}: choose one of {', '.join(DTYPES)}")
    return DTYPES[name]
