"""The forward pass against recorded outputs of the authors' code (../shared/golden, float32, CPU)."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from recorded import recorded
from safetensors.torch import load_file

from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.checkpoint import load_model
from lladav_eval.model.config import read_config
from lladav_eval.model.language import PackedLayout
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.loss import masked_diffusion_loss
from lladav_eval.processing.chat import ChatTokenizer
from lladav_eval.processing.prompt import prepare
from lladav_eval.processing.tiles import anyres_pixels
from lladav_eval.records import Prompt, Query, Request

EMBEDDING_TOLERANCE = 1e-5
LOGIT_TOLERANCE = 1e-4
MASK_ID = 126336
ASSEMBLY: dict[str, dict[str, Any]] = recorded("assembly_logits.json")
PROMPTS: dict[str, dict[str, Any]] = recorded("generation_prompts.json")
LOSS: dict[str, Any] = recorded("loss.json")
OTHERS = re.compile(r"multi_pad_list|multi_anyres_list|video_frames_as_4d_tensor|sdpa_vs_eager|.*#logits")
"""Recorded assemblies that are not evaluation's: several images as training passes them, a video taken for images, and
measurements."""


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


@pytest.mark.parametrize("name", PROMPTS)
def test_embeddings_after_assembly_equal_the_recorded_ones(model76: LladavModel, golden_dir: Path, name: str) -> None:
    tensors = load_file(golden_dir / "generation_prompts.safetensors")
    ours = embeddings_of(model76, prompt_of(PROMPTS[name], tensors.get(f"pixels/{name}")))
    torch.testing.assert_close(ours, tensors[f"inputs_embeds/{name}"][0], atol=EMBEDDING_TOLERANCE, rtol=0)


def test_tower_and_projector_equal_the_recorded_ones(model384: LladavModel, golden_dir: Path) -> None:
    expected = load_file(golden_dir / "assembly_384.safetensors")
    with Image.open(golden_dir / "images" / "rgb_200x150.png") as image:
        pixels = anyres_pixels(image, model384.config)
    features = model384.model.vision_tower(pixels)
    torch.testing.assert_close(features, expected["vision_tower/rgb_200x150@384"], atol=EMBEDDING_TOLERANCE, rtol=1e-5)
    projected = model384.model.mm_projector(features)
    torch.testing.assert_close(projected, expected["projector/rgb_200x150@384"], atol=EMBEDDING_TOLERANCE, rtol=1e-5)


def request_of(case: str, golden_dir: Path) -> Request:
    """The question and the media of a recorded assembly."""
    entry = ASSEMBLY[case]
    question = entry["prompt"].split("user<|end_header_id|>\n\n", 1)[1].rsplit("<|eot_id|>", 1)[0]
    folder, name = golden_dir / "images", case.split("/")[-1].split("@")[0]
    if entry["modalities"] == ["video"]:
        with np.load(golden_dir / "video_frames.npz") as videos:
            (frames,) = (videos[key] for key in videos if key.startswith(f"{name}_"))
        images = tuple(Image.fromarray(frame) for frame in frames)
        return Request(question, video=images, num_frames=len(images))
    if entry["image_sizes"] is None:
        return Request(question)
    if case.startswith("single/"):
        return Request(question, (Image.open(folder / f"{name}.png"),))
    named = [next(folder.glob(f"*_{width}x{height}.png")) for width, height in entry["image_sizes"]]
    return Request(question, tuple(Image.open(path) for path in named))


def bound_case(case: str, golden_dir: Path, model76: LladavModel, model384: LladavModel) -> BoundPrompts:
    """A recorded assembly, made anew from its question and media."""
    tile = 384 if case.endswith("@384") else 76
    model = model384 if tile == 384 else model76
    newlines = re.match(r"video_newline_(\w+)/", case)
    if newlines:
        config = dataclasses.replace(model.config, newline_position=newlines[1])
        varied = LladavModel(config)
        varied.load_state_dict(model.state_dict(), assign=True)
        model = varied
    tokenizer = ChatTokenizer.from_dir(golden_dir / f"tiny-lladav-{tile}")
    prompt = prepare(request_of(case, golden_dir), tokenizer, model.config)
    assert list(prompt.token_ids) == ASSEMBLY[case]["input_ids"]
    return BoundPrompts.bind(model, [prompt])


@pytest.mark.parametrize("case", [name for name in ASSEMBLY if not OTHERS.match(name)])
@torch.inference_mode()
def test_assembly_of_question_and_media_has_the_recorded_sums(
    model76: LladavModel, model384: LladavModel, golden_dir: Path, case: str
) -> None:
    entry = ASSEMBLY[case]
    bound = bound_case(case, golden_dir, model76, model384)
    ours = bound.embed([Query(0, bound.token_ids[0], torch.tensor([0]))])
    assert [1, *ours.shape] == entry["shape"]
    full = load_file(golden_dir / "assembly_384.safetensors").get(f"embeds/{case}")
    if full is not None:
        torch.testing.assert_close(ours, full[0], atol=EMBEDDING_TOLERANCE, rtol=0)
    wide = ours.double()
    assert wide.sum().item() == pytest.approx(entry["sum"], abs=1e-6 * entry["abs_sum"])
    assert wide.pow(2).sum().item() == pytest.approx(entry["sq_sum"], rel=1e-5)


@pytest.mark.parametrize("case", [name for name in ASSEMBLY if "argmax_all" in ASSEMBLY[name]])
@torch.inference_mode()
def test_logits_of_one_forward_equal_the_recorded_ones(
    model76: LladavModel, model384: LladavModel, golden_dir: Path, case: str
) -> None:
    entry = ASSEMBLY[case]
    bound = bound_case(case.removesuffix("#logits"), golden_dir, model76, model384)
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
    if entry["min_top12_margin_all"] > LOGIT_TOLERANCE:
        assert logits.argmax(-1).tolist() == entry["argmax_all"]


def test_logit_values_of_a_large_image_equal_the_recorded_ones(model384: LladavModel, golden_dir: Path) -> None:
    tensors = load_file(golden_dir / "assembly_384.safetensors")
    embeddings = tensors["embeds/single/rgb_672x672@384"][0]
    mask = model384.model.embed_tokens(torch.full((16,), MASK_ID))
    embeddings = torch.cat((embeddings, mask))
    tail = torch.arange(len(embeddings) - 20, len(embeddings))
    layout = PackedLayout.build([len(embeddings)], [tail], torch.device("cpu"))
    logits = model384.logits(model384(embeddings, layout))
    expected = tensors["logits_tail/single/rgb_672x672@384"]
    torch.testing.assert_close(logits, expected, atol=LOGIT_TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("case", "seed"),
    [(name, seed) for name, case in LOSS.items() if "seeds" in case for seed in case["seeds"]],
)
def test_training_loss_equals_the_recorded_one(model76: LladavModel, golden_dir: Path, case: str, seed: str) -> None:
    expected = LOSS[case]["seeds"][seed]
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
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-5, rel=1e-6)
