"""Bad checkpoints: a config with odd fields, and damaged files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from fuzzing.inputs import BYTES, JSON, Target, mutated, refused
from hypothesis import strategies as st
from tiny_checkpoint import write_checkpoint

from lladav_eval.loading import load


@cache
def _checkpoint() -> Path:
    return write_checkpoint(Path(tempfile.mkdtemp(prefix="fuzz")) / "model")


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """The config of a small checkpoint with some fields, also of the tower, replaced or gone."""
    fields = json.loads((_checkpoint() / "config.json").read_text())
    for _ in range(draw(st.integers(1, 3))):
        inner = fields["vision_config"] if draw(st.booleans()) else fields
        if not isinstance(inner, dict) or not inner:
            continue
        name = draw(st.sampled_from(sorted(inner)))
        if draw(st.integers(0, 4)) == 0:
            inner.pop(name)
        else:
            inner[name] = draw(
                JSON
                | st.sampled_from(["(1x1),...,(999999x999999)", "(0x0),(0x0)", "anyres_max_0", "mlp99999999x_gelu"])
                | st.sampled_from([10**9, 10**4, 3, [[16, 16]] * 3, "anyres_max_" + "9" * 5000])
            )
        fields.setdefault("vision_config", {})
    return fields


def _checkpoint_with(folder: Path, name: str, content: bytes) -> Path:
    for file in _checkpoint().iterdir():
        (folder / file.name).symlink_to(file)
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    return folder


def check_config(fields: dict[str, Any], folder: Path) -> None:
    content = json.dumps(fields).encode("utf-8", "surrogatepass")
    refused(lambda: load(_checkpoint_with(folder, "config.json", content), "cpu"))


def _check_file(name: str) -> Callable[[bytes, Path], None]:
    return lambda content, folder: refused(lambda: load(_checkpoint_with(folder, name, content), "cpu"))


def _file(name: str) -> st.SearchStrategy[bytes]:
    return st.deferred(lambda: mutated([(_checkpoint() / name).read_bytes()]) | BYTES)


TARGETS: dict[str, Target] = {
    "config.json": Target(st.deferred(configs), check_config),
    "config.json (bytes)": Target(_file("config.json"), _check_file("config.json")),
    "tokenizer_config.json": Target(_file("tokenizer_config.json"), _check_file("tokenizer_config.json")),
    "safetensors": Target(_file("model.safetensors"), _check_file("model.safetensors"), isolated=True),
}
