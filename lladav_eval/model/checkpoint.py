"""Checkpoint directories: found by name, read strictly, identified by their bytes.

Only safetensors are read: pickled weights could run code. Weights go straight from their shard to their final
device and type, so the peak is the model plus one tensor.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.overrides import TorchFunctionMode

from lladav_eval.errors import CheckpointError, EnvironmentError_, one_line
from lladav_eval.model.config import ModelConfig
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.text_only import our_name

EMBEDDED = {"pocket": "pocket", "pocket-ar": "pocket-ar"}
"""Names of the checkpoints shipped with the package, and their directories."""

OFFICIAL = "GSAI-ML/LLaDA-V"
OFFICIAL_SIZE = "16.9 GB"

HUB_NAME = re.compile(r"(?!.*(?:--|\.\.))[\w][\w.-]*(?<![.-])/[\w][\w.-]*(?<![.-])", re.ASCII)
"""``owner/name`` by the hub's rules; ``./name`` is a path."""
_HASHED = ("*.safetensors", "*.json", "*.jinja", "**/config.json")
"""A tower that config.json names may have its own config below the checkpoint."""
_EMBEDDINGS, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


def find_checkpoint(name: str, offline: bool = False) -> Path:
    """The directory of a checkpoint: embedded, local, or fetched from the hub.

    Raises:
        CheckpointError: if ``name`` is neither embedded, nor a directory, nor of the form ``owner/name``.
        EnvironmentError_: if the hub is needed and can't be reached.
    """
    if name in EMBEDDED:
        return Path(__file__).resolve().parents[1] / "pocket" / "checkpoints" / EMBEDDED[name]
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if name and path.exists():
        raise CheckpointError(f"{name}: is a file; give the directory that holds config.json and *.safetensors")
    if not HUB_NAME.fullmatch(name):
        raise CheckpointError(
            f"{name!r}: no such directory, and not a hub name like {OFFICIAL}; embedded models: {', '.join(EMBEDDED)}"
        )
    return _fetch(name, offline)


def _fetch(name: str, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(
            snapshot_download(
                name,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"],
                local_files_only=offline,
            )
        )
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{name}: the hub has no such model, or it is private; check the name or log in"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = "is not in the local cache" if offline else f"could not be fetched from the hub ({one_line(error)})"
        raise EnvironmentError_(
            f"{name} {reason}; give a downloaded copy with --model DIR, or try the embedded one with --model pocket"
        ) from None


def load_model(
    directory: Path, config: ModelConfig, vocabulary: int, device: torch.device, dtype: torch.dtype
) -> LladavModel:
    """Build the model and fill in every weight from the safetensors shards.

    Args:
        directory: holds ``model.safetensors``, or shards with ``model.safetensors.index.json``.
        config: sizes of the checkpoint.
        vocabulary: rows kept of embeddings and head; the authors' loader cuts both to the tokenizer's length.
        device: where the weights go.
        dtype: type the weights are converted to.

    Raises:
        CheckpointError: listing missing files and missing, unexpected or wrong-shaped weights.
    """
    if vocabulary > config.vocab_size:
        raise CheckpointError(f"{directory}: the tokenizer has {vocabulary} tokens, config.json {config.vocab_size}")
    expected = {name: tuple(tensor.shape) for name, tensor in empty_model(config).state_dict().items()}
    model = empty_model(dataclasses.replace(config, vocab_size=vocabulary))
    shards = _shards(directory)
    if config.tied_embeddings:  # a head in the file means nothing to the authors' loader either
        del expected[_HEAD]
        shards.pop(_HEAD, None)
    rename = our_name if config.text_only else _same_name
    _check_weights(directory, expected, shards, rename)
    state = {}
    for name, tensor in _read_weights(directory, shards, vocabulary, device, rename):
        state[name] = tensor.to(dtype)
    if config.tied_embeddings:
        state[_HEAD] = state[_EMBEDDINGS]
    model.load_state_dict(state, strict=True, assign=True)
    if config.tied_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight  # one parameter, to whoever counts them
    model.requires_grad_(False)
    return model.eval()


def empty_model(config: ModelConfig) -> LladavModel:
    """The model without memory for its weights, on torch's meta device."""
    with torch.device("meta"), _Unfilled():
        return LladavModel(config)


class _Unfilled(TorchFunctionMode):
    """Skips the initial values of modules: drawing them on the meta device imports torch's compiler, for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _shards(directory: Path) -> dict[str, str]:
    """File name of every weight."""
    index = directory / "model.safetensors.index.json"
    single = directory / "model.safetensors"
    if index.is_file():
        try:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            shards = {str(name): str(file) for name, file in weight_map.items()}
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            raise CheckpointError(f"{index}: not a shard index ({one_line(error)}); download it again") from None
        outside = sorted({file for file in shards.values() if Path(file).name != file})
        if outside:
            raise CheckpointError(f"{index}: names files outside the checkpoint: {_listing(outside)}")
        missing = sorted({file for file in shards.values() if not (directory / file).is_file()})
        if missing:
            raise CheckpointError(f"{directory}: missing shards: {_listing(missing)}; download them again")
        return shards
    if single.is_file():
        with _open(single) as weights:
            return dict.fromkeys(weights.keys(), single.name)
    if any(directory.glob("*.bin")) or any(directory.glob("*.pt")) or any(directory.glob("*.pth")):
        raise CheckpointError(f"{directory}: only pickled weights, which can run code; convert them to safetensors")
    raise CheckpointError(f"{directory}: no model.safetensors and no model.safetensors.index.json")


def _same_name(name: str) -> str:
    return name


def _check_weights(
    directory: Path, expected: dict[str, tuple[int, ...]], shards: dict[str, str], rename: Callable[[str], str]
) -> None:
    problems = []
    ours = {rename(name): name for name in shards}
    for name in sorted(expected.keys() - ours.keys()):
        problems.append(f"missing {name}")
    for name in sorted(ours.keys() - expected.keys()):
        problems.append(f"unexpected {ours[name]}")
    for file in sorted(set(shards.values())):
        with _open(directory / file) as weights:
            present = set(weights.keys())
            for name in sorted(name for name in expected.keys() & ours.keys() if shards[ours[name]] == file):
                if ours[name] not in present:
                    problems.append(f"missing {ours[name]} (the index promises it in {file})")
                    continue
                shape = tuple(weights.get_slice(ours[name]).get_shape())
                if shape != expected[name]:
                    asked = list(expected[name])
                    problems.append(f"{ours[name]} has shape {list(shape)}, config.json asks for {asked}")
    if problems:
        raise CheckpointError(f"{directory}: weights don't fit config.json: {_listing(problems, '; ')}")


def _read_weights(
    directory: Path, shards: dict[str, str], vocabulary: int, device: torch.device, rename: Callable[[str], str]
) -> Iterator[tuple[str, torch.Tensor]]:
    """(our name, tensor) of every weight."""
    for file in sorted(set(shards.values())):
        with _open(directory / file, str(device)) as weights:
            for name in sorted(name for name in shards if shards[name] == file):
                if rename(name) in (_EMBEDDINGS, _HEAD):
                    yield rename(name), weights.get_slice(name)[:vocabulary]
                else:
                    yield rename(name), weights.get_tensor(name)


def _open(path: Path, device: str = "cpu") -> safe_open:
    try:
        return safe_open(path, framework="pt", device=device)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({one_line(error)}); download it again"
        ) from None


def _listing(items: list[str], separator: str = ", ", most: int = 12) -> str:
    shown = separator.join(items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")


def checkpoint_hash(directory: Path, patterns: Sequence[str] = _HASHED) -> str:
    """Hex digest of every file that can change an answer: weights, config, tokenizer."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted({path for pattern in patterns for path in directory.glob(pattern)}):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()
