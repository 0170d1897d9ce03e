"""Checkpoints load strictly, say what is wrong, and are identified by their bytes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lladav_eval.errors import CheckpointError, EnvironmentError_
from lladav_eval.model.checkpoint import HUB_NAME, checkpoint_hash, find_checkpoint, load_model
from lladav_eval.model.config import ModelConfig, parse_config, read_config
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.official import OFFICIAL_FIELDS

CPU = torch.device("cpu")

FIELDS: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 50,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "mm_projector_type": "mlp2x_gelu",
    "mm_patch_merge_type": "spatial_unpad",
    "image_aspect_ratio": "anyres_max_4",
    "image_grid_pinpoints": "(1x1),...,(2x2)",
    "vision_config": {
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
    },
}

TOWER: dict[str, Any] = FIELDS["vision_config"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny checkpoint in two shards."""
    torch.manual_seed(0)
    state = {name: tensor.clone() for name, tensor in LladavModel(parse_config(FIELDS)).state_dict().items()}
    names = sorted(state)
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, members in halves.items():
        save_file({name: state[name] for name in members}, tmp_path / file)
    weight_map = {name: file for file, members in halves.items() for name in members}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    return tmp_path


def load(directory: Path, **changes: Any) -> LladavModel:
    config = dataclasses.replace(read_config(directory), **changes)
    return load_model(directory, config, 50, CPU, torch.float32)


def test_shards_load_to_the_saved_weights(checkpoint: Path) -> None:
    model = load(checkpoint)
    saved = load_file(checkpoint / "model-00001-of-00002.safetensors")
    for name, tensor in saved.items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_embeddings_and_head_are_cut_to_the_tokenizer(checkpoint: Path) -> None:
    model = load_model(checkpoint, read_config(checkpoint), 40, CPU, torch.bfloat16)
    assert model.lm_head.weight.shape == (40, 16)
    assert model.model.embed_tokens.weight.shape == (40, 16)
    assert model.dtype == torch.bfloat16


def test_a_linear_connector_has_no_number_in_its_names(checkpoint: Path) -> None:
    torch.manual_seed(0)
    projector = {"model.mm_projector.weight": torch.randn(16, 8), "model.mm_projector.bias": torch.randn(16)}
    others = {
        name: tensor
        for name, tensor in load_model(checkpoint, read_config(checkpoint), 50, CPU, torch.float32).state_dict().items()
        if not name.startswith("model.mm_projector.")
    }
    for file in checkpoint.glob("model*"):
        file.unlink()
    save_file({**others, **projector}, checkpoint / "model.safetensors")
    (checkpoint / "config.json").write_text(json.dumps({**FIELDS, "mm_projector_type": "linear"}))
    features = torch.randn(2, 4, 8)
    expected = torch.nn.functional.linear(features, *projector.values())
    assert torch.equal(load(checkpoint).model.mm_projector(features), expected)


@pytest.mark.parametrize("with_head", [False, True])
def test_tied_embeddings_are_the_head(checkpoint: Path, with_head: bool) -> None:
    state = load(checkpoint).state_dict()
    for file in checkpoint.glob("model*"):
        file.unlink()
    saved = {name: tensor for name, tensor in state.items() if with_head or name != "lm_head.weight"}
    save_file(saved, checkpoint / "model.safetensors")
    (checkpoint / "config.json").write_text(json.dumps({**FIELDS, "tie_word_embeddings": True}))
    model = load_model(checkpoint, read_config(checkpoint), 40, CPU, torch.float32)
    assert torch.equal(model.lm_head.weight, state["model.embed_tokens.weight"][:40])
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_missing_shard_is_named(checkpoint: Path) -> None:
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"missing shards: model-00002-of-00002\.safetensors"):
        load(checkpoint)


def test_missing_unexpected_and_wrong_shaped_weights_are_listed(checkpoint: Path) -> None:
    file = checkpoint / "model-00001-of-00002.safetensors"
    index_file = checkpoint / "model.safetensors.index.json"
    weights, index = load_file(file), json.loads(index_file.read_text())
    dropped, reshaped = sorted(weights)[:2]
    del weights[dropped], index["weight_map"][dropped]
    weights[reshaped] = torch.zeros(3, 5)
    weights["model.extra.weight"] = torch.zeros(1)
    index["weight_map"]["model.extra.weight"] = file.name
    save_file(weights, file)
    index_file.write_text(json.dumps(index))
    with pytest.raises(CheckpointError) as caught:
        load(checkpoint)
    message = str(caught.value)
    assert f"missing {dropped}" in message
    assert "unexpected model.extra.weight" in message
    assert f"{reshaped} has shape [3, 5]" in message
    assert "\n" not in message


def test_truncated_shard_is_one_clear_line(checkpoint: Path) -> None:
    file = checkpoint / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load(checkpoint)


def test_shard_index_cannot_leave_the_directory(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside the checkpoint"):
        load(checkpoint)


def test_pickled_weights_are_refused(checkpoint: Path) -> None:
    for file in checkpoint.glob("model*"):
        file.unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(b"not read")
    with pytest.raises(CheckpointError, match="pickled"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not readable as JSON"),
        ("[1]", "must hold a JSON object"),
        ("{}", "mm_projector_type"),
        (json.dumps({**FIELDS, "hidden_size": "16"}), "hidden_size='16'"),
        (json.dumps({**FIELDS, "hidden_size": 15}), "not divisible"),
        (json.dumps({**FIELDS, "rope_scaling": {"type": "linear"}}), "rope_scaling"),
        (json.dumps({**FIELDS, "hidden_act": "gelu"}), "hidden_act='gelu'"),
        (json.dumps({**FIELDS, "vision_config": TOWER | {"hidden_act": "relu"}}), "hidden_act='relu'"),
        (json.dumps({**FIELDS, "image_grid_pinpoints": [[7, 8]]}), "multiple of the tile size"),
        (json.dumps({**FIELDS, "vision_config": None, "mm_vision_tower": "x/y"}), "its sizes are unknown"),
    ],
)
def test_unusable_config_is_one_clear_line(checkpoint: Path, content: str | None, message: str) -> None:
    path = checkpoint / "config.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_config(checkpoint)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_of_grids_may_be_text() -> None:
    grids = parse_config({**FIELDS, "image_grid_pinpoints": [[16, 8], [8, 8]]}).image_grid_pinpoints
    assert grids == ((16, 8), (8, 8))
    for text in ("[(16, 8), (8, 8)]", "[[16, 8], [8, 8]]"):
        assert parse_config({**FIELDS, "image_grid_pinpoints": text}).image_grid_pinpoints == grids
    for text in ("[(16, 8)", "16, 8", "", "7"):
        with pytest.raises(CheckpointError, match="image_grid_pinpoints"):
            parse_config({**FIELDS, "image_grid_pinpoints": text})


def test_without_a_number_of_key_value_heads_each_head_has_its_own() -> None:
    fields = {name: value for name, value in FIELDS.items() if name != "num_key_value_heads"}
    for given in (fields, {**fields, "num_key_value_heads": None}):
        assert parse_config(given).num_key_value_heads == FIELDS["num_attention_heads"]


def test_official_config_gives_the_published_names_and_count(golden_dir: Path) -> None:
    config = parse_config(OFFICIAL_FIELDS)
    with torch.device("meta"):
        model = LladavModel(config)
    names = set(model.state_dict())
    assert names == _names_at_official_depth(golden_dir, config)
    language = sum(
        tensor.numel()
        for name, tensor in model.state_dict().items()
        if not name.startswith(("model.vision_tower.", "model.mm_projector.", "model.image_newline"))
    )
    # total_size of the authors' language model index: 16,031,162,368 bytes of bfloat16
    assert 2 * language == 16_031_162_368
    total = sum(tensor.numel() for tensor in model.state_dict().values())
    assert round(2 * total / 1e9, 1) == 16.9  # size of the six official shards together


def _names_at_official_depth(golden_dir: Path, config: ModelConfig) -> set[str]:
    """The recorded names of the three-layer checkpoint, repeated for the official number of layers."""
    recorded = json.loads((golden_dir / "parameter_names.json").read_text())
    tower = "model.vision_tower.vision_tower.vision_model.encoder.layers."
    names = set()
    for name in recorded:
        if name.startswith("model.layers.0."):
            rest = name.removeprefix("model.layers.0.")
            names |= {f"model.layers.{layer}.{rest}" for layer in range(config.num_hidden_layers)}
        elif name.startswith(tower + "0."):
            rest = name.removeprefix(tower + "0.")
            names |= {f"{tower}{layer}.{rest}" for layer in range(config.vision.num_hidden_layers - 1)}
        elif not name.startswith(("model.layers.", tower)):
            names.add(name)
    return names


def test_a_known_tower_may_be_a_directory_s_name() -> None:
    path = {**OFFICIAL_FIELDS, "mm_vision_tower": "model/siglip2-so400m-patch14-384/"}
    assert parse_config(path).vision == parse_config(OFFICIAL_FIELDS).vision


def test_hash_follows_content_not_place(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = checkpoint_hash(checkpoint)
    copy = tmp_path_factory.mktemp("copy") / "moved"
    shutil.copytree(checkpoint, copy)
    assert checkpoint_hash(copy) == before
    file = copy / "model-00001-of-00002.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert checkpoint_hash(copy) != before


def test_names_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        find_checkpoint("nowhere at all")
    for path in ("", "./nope", "../nope", "a/..", "a--b/c", "a/b."):
        with pytest.raises(CheckpointError, match="no such directory"):
            find_checkpoint(path)
        assert not HUB_NAME.fullmatch(path)
    assert HUB_NAME.fullmatch("GSAI-ML/LLaDA-V")
    assert HUB_NAME.fullmatch("a_1/b.c-d")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        find_checkpoint(str(file))


def test_hub_name_without_the_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EnvironmentError_, match="--model pocket") as caught:
        find_checkpoint("GSAI-ML/LLaDA-V", offline=True)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
