"""Text-only LLaDA checkpoints, in their own names: read, loaded by the same class, asked without a tower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_checkpoint import write_checkpoint

import lladav_eval
from lladav_eval import Request, SamplingParams
from lladav_eval.errors import CheckpointError
from lladav_eval.model.config import parse_config
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.text_only import our_name
from lladav_eval.pocket.vocabulary import write_tokenizer

# The published config.json of GSAI-ML/LLaDA-8B-Instruct, in its fields that matter.
PUBLISHED: dict[str, Any] = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": 4096,
    "embedding_size": 126464,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "max_sequence_length": 4096,
    "mlp_hidden_size": 12288,
    "mlp_ratio": 4,
    "n_heads": 32,
    "n_kv_heads": 32,
    "n_layers": 32,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "vocab_size": 126464,
    "weight_tying": False,
}
TINY = {"d_model": 32, "mlp_hidden_size": 48, "n_heads": 4, "n_kv_heads": 2, "n_layers": 2, "max_sequence_length": 256}
PARAMS = SamplingParams(8, 4, 8)


def weights(rows: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the published names."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "model.transformer.wte.weight": (rows, 32),
        "model.transformer.ln_f.weight": (32,),
        "model.transformer.ff_out.weight": (rows, 32),
    }
    for block in range(2):
        name = f"model.transformer.blocks.{block}."
        shapes |= {
            f"{name}q_proj.weight": (32, 32),
            f"{name}k_proj.weight": (16, 32),
            f"{name}v_proj.weight": (16, 32),
            f"{name}attn_out.weight": (32, 32),
            f"{name}ff_proj.weight": (48, 32),
            f"{name}up_proj.weight": (48, 32),
            f"{name}ff_out.weight": (32, 48),
            f"{name}attn_norm.weight": (32,),
            f"{name}ff_norm.weight": (32,),
        }
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    rows = write_tokenizer(tmp_path).get_vocab_size() + 7  # the published file has more rows than tokens, too
    (tmp_path / "config.json").write_text(json.dumps({**PUBLISHED, **TINY, "embedding_size": rows, "vocab_size": rows}))
    save_file(weights(rows), tmp_path / "model.safetensors")
    return tmp_path


def test_the_published_config_is_understood() -> None:
    config = parse_config(PUBLISHED)
    assert config.text_only
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (4096, 12288, 32)
    assert (config.num_key_value_heads, config.vocab_size, config.max_length) == (32, 126464, 4096)
    with torch.device("meta"):
        model = LladavModel(config)
    assert sum(weight.numel() for weight in model.parameters()) == 8_015_581_184  # 16,031,162,368 bytes in bfloat16


def test_every_published_name_has_its_place() -> None:
    with torch.device("meta"):
        expected = set(LladavModel(parse_config({**PUBLISHED, **TINY})).state_dict())
    assert {our_name(name) for name in weights(5)} == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_type": "sequential"}, "block_type='sequential' is not supported"),
        ({"weight_tying": True}, "weight_tying=True is not supported"),
        ({"rope_theta": None}, "field 'rope_theta' is missing"),
    ],
)
def test_other_architectures_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config({**PUBLISHED, **change})


def test_text_is_answered_the_same_at_every_batch_size(checkpoint: Path) -> None:
    model = lladav_eval.load(checkpoint, device="cpu")
    requests = [Request("List each digit"), Request("Read the digits."), Request("Is there a digit in the picture?")]
    alone = model.generate(requests, PARAMS, batch_size=1)
    together = model.generate(requests, PARAMS, batch_size=3)
    assert [answer.status for answer in alone] == ["ok"] * 3
    assert [answer.token_ids for answer in alone] == [answer.token_ids for answer in together]


def test_the_logits_are_those_of_the_formula(checkpoint: Path) -> None:
    """The transformer written out plainly on the weights under their published names."""
    model = lladav_eval.load(checkpoint, device="cpu")
    state = weights(len(model.tokenizer) + 7)
    ids = torch.tensor([3, 40, 7, 11, 2])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * state[name]

    def rotate(x: torch.Tensor) -> torch.Tensor:
        angles = torch.arange(5.0)[:, None] / 500000.0 ** (torch.arange(0, 8, 2) / 8)
        angles = torch.cat((angles, angles), -1)
        return x * angles.cos() + torch.cat((-x[..., 4:], x[..., :4]), -1) * angles.sin()

    x = state["model.transformer.wte.weight"][ids]
    for block in range(2):
        w = {name.split(".")[-2]: value for name, value in state.items() if f"blocks.{block}." in name}
        at = f"model.transformer.blocks.{block}."
        h = norm(x, f"{at}attn_norm.weight")
        q, k, v = ((h @ w[name].T).view(5, -1, 8).transpose(0, 1) for name in ("q_proj", "k_proj", "v_proj"))
        k, v = k.repeat_interleave(2, 0), v.repeat_interleave(2, 0)
        mixed = torch.softmax(rotate(q) @ rotate(k).transpose(1, 2) / 8**0.5, -1) @ v
        x = x + mixed.transpose(0, 1).reshape(5, 32) @ w["attn_out"].T
        h = norm(x, f"{at}ff_norm.weight")
        x = x + (torch.nn.functional.silu(h @ w["ff_proj"].T) * (h @ w["up_proj"].T)) @ w["ff_out"].T
    expected = norm(x, "model.transformer.ln_f.weight") @ state["model.transformer.ff_out.weight"].T

    from lladav_eval.model.bound import BoundPrompts
    from lladav_eval.records import Query

    with torch.inference_mode():
        bound = BoundPrompts(model.model, [ids], [torch.zeros(0, 32)])
        logits = bound([Query(0, ids, torch.arange(5))])[0]
    torch.testing.assert_close(logits, expected[:, : len(model.tokenizer)], rtol=1e-4, atol=1e-4)


def test_it_is_asked_without_system_message_and_may_end_its_answer(checkpoint: Path) -> None:
    model = lladav_eval.load(checkpoint, device="cpu")
    from lladav_eval.processing.prompt import prepare

    text = prepare(Request("List each digit"), model.tokenizer, model.config).text
    assert text.startswith("<|startoftext|><|start_header_id|>user<|end_header_id|>")
    # A head that always says end-of-text: an empty answer that ended by itself.
    model.model.lm_head.weight.zero_()
    model.model.lm_head.weight[model.tokenizer.eos_id] = 1.0
    model.model.model.norm.weight.fill_(0.0)
    model.model.model.norm.weight[0] = 1.0
    answers = model.generate([Request("List each digit")], PARAMS)
    assert answers[0].status == "ok"
    assert answers[0].text == ""


def test_images_are_failed_samples_with_the_reason(checkpoint: Path) -> None:
    model = lladav_eval.load(checkpoint, device="cpu")
    answers = model.generate([Request("What?", (Image.new("RGB", (8, 8)),)), Request("List each digit")], PARAMS)
    assert [answer.status for answer in answers] == ["failed", "ok"]
    assert "text-only" in (answers[0].error or "")


def test_unknown_and_missing_weights_are_named_as_the_file_names_them(checkpoint: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(checkpoint / "model.safetensors")
    state["model.transformer.blocks.0.q_norm.weight"] = torch.ones(8)
    del state["model.transformer.ln_f.weight"]
    save_file(state, checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing model\.norm\.weight.*unexpected .*blocks\.0\.q_norm"):
        lladav_eval.load(checkpoint)


def test_a_llada_v_is_not_taken_for_one(tmp_path: Path) -> None:
    assert not lladav_eval.load(write_checkpoint(tmp_path)).config.text_only
