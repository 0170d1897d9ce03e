"""What ``lladav-eval doctor`` looks at for one model and for a judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lladav_eval.cli.checks import Check, clean, free_gib, main_memory
from lladav_eval.errors import CheckpointError, EnvironmentError_, EvalError

if TYPE_CHECKING:
    from lladav_eval.adapters.chat_client import Endpoint

ENDPOINT_TIMEOUT = 20.0
"""Seconds an endpoint has to give one token."""
HEADROOM = 1.2
"""Memory beside the weights, as a share of them, for activations and the libraries' own."""


def model(name: str, device: str | None, dtype: str | None, offline: bool, has_hub: bool) -> list[Check]:
    """What a name that ``--model`` accepts needs, against what is here."""
    prefix, _, rest = name.partition(":")
    try:
        if prefix == "openai" and rest:
            from lladav_eval.adapters.chat_client import Endpoint

            return [_endpoint("model", Endpoint.parse(rest), ("OPENAI_API_KEY",), offline)]
        if prefix == "replay" and rest:
            from lladav_eval.adapters.replay import ReplayAnswerer

            return [Check("model", True, f"{ReplayAnswerer(rest).description()['answers']} recorded answers")]
        if prefix == "lmms" and rest:
            return [Check("model", True, "not looked at: what a model of lmms-eval needs, it alone knows")]
        return _checkpoint(name.removeprefix("hf:"), name.startswith("hf:"), device, dtype, has_hub)
    except EvalError as error:
        found, _, fix = clean(error).partition("; ")
        return [Check("model", False, found, fix or "the line above says what is wrong with --model")]


def judge(text: str, offline: bool) -> Check:
    """Whether the judge answers, with the key that a run would use."""
    from lladav_eval.adapters.judge import KEY_VARIABLES, Endpoint

    try:
        endpoint = Endpoint.parse(text, "judge", KEY_VARIABLES[0])
    except EvalError as error:
        return Check("judge", False, clean(error), "give --judge MODEL@URL")
    return _endpoint("judge", endpoint, KEY_VARIABLES, offline)


def _endpoint(name: str, endpoint: Endpoint, variables: Sequence[str], offline: bool) -> Check:
    from lladav_eval.adapters.chat_client import ChatClient, Patience

    if offline:
        return Check(name, False, "an endpoint can't be asked without the network", "leave out --offline")
    client = ChatClient(
        endpoint, who=f"the {name}", key_variables=variables, patience=Patience(attempts=1, timeout=ENDPOINT_TIMEOUT)
    )
    fix = f"check the address, the model's name, the network and ${variables[0]}"
    try:
        reply = client.complete({"messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 1})
    except EvalError as error:
        return Check(name, False, clean(error), fix)
    finally:
        client.close()
    return Check(name, True, f"{clean(reply.served_model)} answers in {reply.seconds:.1f} s")


def _checkpoint(name: str, is_hf: bool, device: str | None, dtype: str | None, has_hub: bool) -> list[Check]:
    """Weights in place or to be fetched, room for them on disk and in memory; what else a run would load at once."""
    from lladav_eval.model.checkpoint import OFFICIAL, OFFICIAL_SIZE, find_checkpoint

    try:
        directory = find_checkpoint(name, offline=True)  # a hub name: what was fetched before, or an error
    except EnvironmentError_:
        size = OFFICIAL_SIZE if name == OFFICIAL else "its weights"
        if not has_hub:
            fix = "fetch it where the hub answers, or give --model DIR"
            return [Check("model", False, f"{name} is not in the local cache, and there is no hub", fix)]
        from huggingface_hub import constants

        needed = float(OFFICIAL_SIZE.split()[0]) if name == OFFICIAL else 0.0
        free = free_gib(Path(constants.HF_HUB_CACHE)) * 2**30 / 1e9
        found = f"{name} must be fetched first ({size}); {free:.1f} GB are free in {constants.HF_HUB_CACHE}"
        checks = [Check("model", free > needed, found, "set $HF_HOME to a folder with room")]
        return [*checks, _room(int(needed * 1e9 / 2), device, dtype)] if needed else checks
    count = _parameters(directory)
    if is_hf:
        from lladav_eval.adapters.autoregressive import load_processor

        load_processor(name, directory)
    else:
        from lladav_eval.model.config import read_config
        from lladav_eval.processing.chat import ChatTokenizer

        read_config(directory)
        ChatTokenizer.from_dir(directory)
    return [Check("model", True, f"{directory}: {_millions(count)} in safetensors"), _room(count, device, dtype)]


def _parameters(directory: Path) -> int:
    """Weights of a checkpoint, from the headers of its files. Raises CheckpointError."""
    from safetensors import SafetensorError, safe_open

    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{directory}: no *.safetensors (pickled weights can run code); save it as such")
    count = 0
    for file in files:
        try:
            with safe_open(file, framework="numpy") as weights:
                for key in weights.keys():  # noqa: SIM118 (not a mapping)
                    size = 1
                    for side in weights.get_slice(key).get_shape():
                        size *= side
                    count += size
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: not a readable safetensors file ({error}); download it again") from None
    return count


def _room(parameters: int, device: str | None, dtype: str | None) -> Check:
    """Memory for the weights in the number type that a run would choose."""
    import torch

    from lladav_eval.loading import choose_device, choose_dtype

    target = choose_device(device)
    precision = choose_dtype(dtype, target)
    needed = int(parameters * torch.empty(0, dtype=precision).element_size() * HEADROOM)
    on_gpu = target.type == "cuda"
    free = torch.cuda.mem_get_info(target)[0] if on_gpu else main_memory()[0]
    where = f"memory of {target}" if on_gpu else "main memory"
    number_type = str(precision).removeprefix("torch.")
    found = (
        f"about {needed / 2**30:.1f} GiB of {where} for {_millions(parameters)} in {number_type}, "
        f"{free / 2**30:.1f} GiB are free"
    )
    fix = "use a device with more memory, or --dtype bfloat16" if precision is torch.float32 else "use a larger device"
    return Check("model memory", free >= needed, found, f"{fix}; --model pocket runs anywhere")


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:,.1f} million weights"
