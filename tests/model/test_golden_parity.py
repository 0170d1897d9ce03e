"""The forward pass against recorded outputs of the authors' code (../shared/golden, float32, CPU)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.checkpoint import load_model
from lladav_eval.model.config import read_config
from lladav_eval.model.language import PackedLayout
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.loss import masked_diffusion_loss
from lladav_eval.processing.chat import ChatTokenizer
from lladav_eval.records import Prompt, Query

EMBEDDING_TOLERANCE = 1e-5
LOGIT_TOLERANCE = 1e-4
MASK_ID = 126336
TEXT_PROMPTS = ("t_animals", "t_sky", "t_8p2", "t_3p4", "t_hello")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def tiny_model(golden_dir: Path, tile: int) -> LladavModel:
    directory = golden_dir / f"tiny-lladav-{tile}"
    vocabulary = len(ChatTokenizer.from_dir(directory))
    return load_model(directory, read_config(directory), vocabulary, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def model76(golden_dir: Path) -> LladavModel:
    return tiny_model(golden_dir, 76)


@pytest.fixture(scope="module")
def model384(golden_dir: Path) -> LladavModel:
    return tiny_model(golden_dir, 384)


def prompt_of(entry: dict[str, Any], pixels: torch.Tensor | None) -> Prompt:
    """Our prompt record from a recorded call: its ids, pixels and settings."""
    layout = "none"
    media: tuple[torch.Tensor, ...] = ()
    if pixels is not None and "video" in entry["modalities"]:
        layout, media = "video", (pixels.flatten(0, -4),)
    elif pixels is not None and entry["image_aspect_ratio"] == "pad":
        layout, media = "pad", tuple(tile[None] for tile in pixels)
    elif pixels is not None:
        layout, media = "anyres", (pixels.flatten(0, -4),)
    sizes = tuple((width, height) for width, height in entry["image_sizes"] or ())
    return Prompt(entry["prompt"], tuple(entry["input_ids"]), media, sizes, layout)  # type: ignore[arg-type]


def embeddings_of(model: LladavModel, prompt: Prompt) -> torch.Tensor:
    bound = BoundPrompts.bind(model, [prompt])
    return bound.embed([Query(0, bound.token_ids[0], torch.tensor([0]))])


@pytest.mark.parametrize(
    "name",
    [
        "single",
        "single_nothink",
        "single_maskword",
        "multi2",
        "video4",
        "text",
        "t_animals",
        "t_sky",
        "t_8p2",
        "t_3p4",
        "t_hello",
    ],
)
def test_embeddings_after_assembly_equal_the_recorded_ones(model76: LladavModel, golden_dir: Path, name: str) -> None:
    tensors = load_file(golden_dir / "generation_prompts.safetensors")
    entry = read(golden_dir / "generation_prompts.json")[name]
    ours = embeddings_of(model76, prompt_of(entry, tensors.get(f"pixels/{name}")))
    torch.testing.assert_close(ours, tensors[f"inputs_embeds/{name}"][0], atol=EMBEDDING_TOLERANCE, rtol=0)


def test_tower_and_projector_equal_the_recorded_ones(model384: LladavModel, golden_dir: Path) -> None:
    from PIL import Image

    from lladav_eval.processing.tiles import anyres_pixels

    recorded = load_file(golden_dir / "assembly_384.safetensors")
    with Image.open(golden_dir / "images" / "rgb_200x150.png") as image:
        pixels = anyres_pixels(image, model384.config)
    features = model384.model.vision_tower(pixels)
    torch.testing.assert_close(features, recorded["vision_tower/rgb_200x150@384"], atol=EMBEDDING_TOLERANCE, rtol=1e-5)
    projected = model384.model.mm_projector(features)
    torch.testing.assert_close(projected, recorded["projector/rgb_200x150@384"], atol=EMBEDDING_TOLERANCE, rtol=1e-5)


def image_cases() -> list[str]:
    names = ["rgb_640x480", "rgb_200x150", "rgb_672x672", "rgb_1600x1200", "wide_1500x120", "tall_100x1300"]
    return [f"single/{name}@{tile}" for tile in (76, 384) for name in names]


@pytest.mark.parametrize("case", image_cases())
def test_assembly_of_one_image_has_the_recorded_sums(
    model76: LladavModel, model384: LladavModel, golden_dir: Path, case: str
) -> None:
    from PIL import Image

    from lladav_eval.processing.tiles import anyres_pixels

    entry = read(golden_dir / "assembly_logits.json")[case]
    name, tile = case.removeprefix("single/").split("@")
    model = model76 if tile == "76" else model384
    with Image.open(golden_dir / "images" / f"{name}.png") as image:
        ours = embeddings_of(model, prompt_of(entry, anyres_pixels(image, model.config)[None]))
    assert [1, *ours.shape] == entry["shape"]
    full = load_file(golden_dir / "assembly_384.safetensors").get(f"embeds/{case}")
    if full is not None and name != "tall_100x1300":  # Pillow 13 resizes that one by up to 21 levels differently
        torch.testing.assert_close(ours, full[0], atol=2e-4, rtol=0)
    wide = ours.double()
    assert wide.sum().item() == pytest.approx(entry["sum"], abs=2e-5 * entry["abs_sum"])
    assert wide.pow(2).sum().item() == pytest.approx(entry["sq_sum"], rel=2e-4)


def logit_cases() -> list[tuple[str, str]]:
    return [("single", "single/rgb_200x150@76#logits"), ("text", "text_only#logits")]


@pytest.mark.parametrize(("name", "case"), logit_cases())
def test_logits_of_one_forward_equal_the_recorded_ones(
    model76: LladavModel, golden_dir: Path, name: str, case: str
) -> None:
    entry = read(golden_dir / "assembly_logits.json")[case]
    call = read(golden_dir / "assembly_logits.json")[case.removesuffix("#logits")]
    tensors = load_file(golden_dir / "generation_prompts.safetensors")
    bound = BoundPrompts.bind(model76, [prompt_of(call, tensors.get(f"pixels/{name}"))])
    ids = torch.cat((bound.token_ids[0], torch.full((entry["n_mask_appended"],), MASK_ID)))
    assert len(ids) == entry["L"]
    logits = bound([Query(0, ids, torch.arange(len(ids)))])[0]
    assert logits.shape[1] == entry["V"]
    torch.testing.assert_close(
        logits.double().logsumexp(-1),
        torch.tensor(entry["logsumexp_all"], dtype=torch.float64),
        atol=LOGIT_TOLERANCE,
        rtol=0,
    )
    assert logits.argmax(-1).tolist() == entry["argmax_all"]


def test_logit_values_of_a_large_image_equal_the_recorded_ones(model384: LladavModel, golden_dir: Path) -> None:
    recorded = load_file(golden_dir / "assembly_384.safetensors")
    embeddings = recorded["embeds/single/rgb_672x672@384"][0]
    mask = model384.model.embed_tokens(torch.full((16,), MASK_ID))
    embeddings = torch.cat((embeddings, mask))
    tail = torch.arange(len(embeddings) - 20, len(embeddings))
    layout = PackedLayout.build([len(embeddings)], [tail], torch.device("cpu"))
    logits = model384.logits(model384(embeddings, layout))
    expected = recorded["logits_tail/single/rgb_672x672@384"]
    torch.testing.assert_close(logits, expected, atol=LOGIT_TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    "case", ["single_image", "multi_turn", "multi_turn_conversation_mask", "text_with_zero_image", "batch2_padded"]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_loss_equals_the_recorded_one(model76: LladavModel, golden_dir: Path, case: str, seed: int) -> None:
    recorded = read(golden_dir / "loss.json")[case]["seeds"][str(seed)]
    tensors = load_file(golden_dir / "loss.safetensors")
    embeddings, labels = tensors[f"{case}/inputs_embeds"], tensors[f"{case}/labels"]
    is_masked, t = tensors[f"{case}/seed{seed}/mask"], tensors[f"{case}/seed{seed}/t"]
    mask = model76.model.embed_tokens(torch.tensor(MASK_ID))
    noisy = torch.where(is_masked[..., None], mask, embeddings)
    turns = tensors.get(f"{case}/conversation_ids")
    layout = PackedLayout.build(
        [labels.shape[1]] * len(labels),
        [row.nonzero().flatten() for row in is_masked],
        torch.device("cpu"),
        None if turns is None else list(turns),
    )
    logits = model76.logits(model76(noisy.flatten(0, 1), layout))
    per_row = is_masked.sum(1)
    loss = masked_diffusion_loss(
        logits,
        labels[is_masked],
        (0.999 * t + 1e-3).repeat_interleave(per_row),
        (labels != -100).sum(1).repeat_interleave(per_row),
        len(labels),
    )
    assert loss.item() == pytest.approx(recorded["loss"], abs=1e-5, rel=1e-6)
