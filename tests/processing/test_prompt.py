from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_video import write_video
from toy_processing import make_config

from lladav_eval.errors import MediaError, SampleError
from lladav_eval.model.config import ModelConfig, read_config
from lladav_eval.processing.chat import SYSTEM_MESSAGE, ChatTokenizer
from lladav_eval.processing.prompt import (
    prepare,
    render_conversation,
    stop_strings,
    tokenize_with_placeholders,
)
from lladav_eval.processing.tiles import anyres_pixels, pad_pixels
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Request

COPIED = json.loads((Path(__file__).parents[1] / "golden" / "evaluation_prompts.json").read_text())["cases"]
OPENING = f"<|startoftext|><|start_header_id|>system<|end_header_id|>\n\n{SYSTEM_MESSAGE}<|eot_id|>"
USER, ANSWER = "<|start_header_id|>user<|end_header_id|>\n\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"


def noise(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def request_of(context: str, images: int, video: bool, mode: Any) -> Request:
    frames = tuple(noise(seed=index) for index in range(3))
    return Request(context, tuple(noise(seed=i) for i in range(images)), frames if video else None, mode)


# --- against the authors' code -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> tuple[ChatTokenizer, ModelConfig]:
    return ChatTokenizer.from_dir(golden_dir / "tiny-lladav-76"), read_config(golden_dir / "tiny-lladav-76")


def golden_request(case: dict[str, Any], golden_dir: Path, folder: Path) -> Request:
    """The request of a recorded case; its fake video files become real ones of as many frames."""
    visuals, mode = case["visuals"], case["gen_kwargs_in"].get("think_mode")
    if isinstance(visuals, str):
        video = write_video(folder / "video.mp4", int(visuals.split("_")[0]))
        return Request(case["context"], video=video, mode=mode)
    opened = tuple(Image.open(golden_dir / "images" / f"{name}.png") for name in visuals or ())
    if "sample_frames" in case["metadata"]:
        return Request(case["context"], video=opened, mode=mode, num_frames=case["metadata"]["sample_frames"])
    return Request(case["context"], opened, mode=mode)


def test_golden_evaluation_prompts(golden: tuple[ChatTokenizer, ModelConfig], golden_dir: Path, tmp_path: Path) -> None:
    tokenizer, config = golden
    recorded = json.loads((golden_dir / "evaluation_prompts.json").read_text())
    answered = {name: case for name, case in recorded.items() if "call" in case}
    assert answered
    for name, case in answered.items():
        request = golden_request(case, golden_dir, tmp_path)
        prompt, call = prepare(request, tokenizer, config), case["call"]
        assert prompt.text == ast.literal_eval(case["prompt_printed"])[0], name
        assert list(prompt.token_ids) == call["input_ids"], name
        stop = case["gen_kwargs_in"].get("stopping_criteria", ())
        assert stop_strings(request, stop, tokenizer) == tuple(call["kwargs"].get("stopping_criteria", ())), name
        if call["images"] is None:
            assert (prompt.layout, prompt.pixels) == ("none", ()), name
        elif "video" in call["kwargs"].get("modalities", ()):
            assert prompt.layout == "video", name
            frames = call["images"]["shape"]
            assert list(prompt.pixels[0].shape) == (frames if isinstance(frames[0], int) else frames[0]), name
        else:
            assert prompt.layout == ("pad" if call["config_image_aspect_ratio"] == "pad" else "anyres"), name
            assert len(prompt.pixels) == case["n_image_placeholders"], name
            if len(prompt.pixels) != len(request.images):  # ours are those that are shown, theirs all
                continue
            assert [list(size) for size in prompt.image_sizes] == call["kwargs"]["image_sizes"], name
            stacked = torch.cat(prompt.pixels)
            assert list(stacked.shape) == call["images"]["shape"][-4:], name
            assert hashlib.sha256(stacked.numpy().tobytes()).hexdigest() == call["images"]["sha256"], name


@pytest.mark.parametrize("name", ["text_only_stop_given", "numeric_string_context"])
def test_golden_crashes_of_the_authors_are_answered(
    name: str, golden: tuple[ChatTokenizer, ModelConfig], golden_dir: Path
) -> None:
    tokenizer, config = golden
    case = json.loads((golden_dir / "evaluation_prompts.json").read_text())[name]
    assert "error" in case
    request = Request(case["context"], mode="no_think")
    assert prepare(request, tokenizer, config).text == f"{OPENING}{USER}{case['context']}<|eot_id|>{ANSWER}"
    stop = tuple(case["gen_kwargs_in"].get("stopping_criteria", ()))
    assert stop_strings(request, stop, tokenizer) == stop


def test_golden_sequences_of_calls_do_not_leak(golden: tuple[ChatTokenizer, ModelConfig], golden_dir: Path) -> None:
    """Several images, then one: the authors' ``pad`` leaks into the next call; ours is any-resolution again."""
    tokenizer, config = golden
    recorded = json.loads((golden_dir / "evaluation_prompts.json").read_text())
    several, one = recorded["__same_call_multi_then_single"]["calls"]
    image = Image.open(golden_dir / "images" / "rgb_200x150.png")
    first = prepare(Request("Q0?", (image, image), mode="no_think"), tokenizer, config)
    second = prepare(Request("Q1?", (image,), mode="no_think"), tokenizer, config)
    assert (first.layout, second.layout) == (several["aspect"], "anyres")
    for prompt, call in ((first, several), (second, one)):
        ids = [token for token in prompt.token_ids if token != IMAGE_PLACEHOLDER_ID]
        assert tokenizer.decode(ids, skip_special_tokens=False).endswith(call["q"])
    assert list(second.pixels[0].shape) == one["images"]["shape"][1:]


@pytest.mark.parametrize("name", ["__png_subclass_alone", "__rgb_then_png_subclass_same_call"])
def test_golden_opened_files_are_images_too(
    name: str, golden: tuple[ChatTokenizer, ModelConfig], golden_dir: Path
) -> None:
    """The authors' adapter breaks on images straight from ``Image.open``; ours takes them."""
    assert "error" in json.loads((golden_dir / "evaluation_prompts.json").read_text())[name]
    for path in sorted((golden_dir / "images").glob("*_*0.png")):
        prompt = prepare(Request("What?", (Image.open(path),)), *golden)
        assert prompt.layout == "anyres"


def test_golden_image_token_quirk(golden: tuple[ChatTokenizer, ModelConfig], golden_dir: Path) -> None:
    tokenizer, _ = golden
    for question, case in json.loads((golden_dir / "image_token_quirk.json").read_text()).items():
        ids = tokenize_with_placeholders(render_conversation(question, tokenizer), tokenizer)
        assert ids == case["reference_ids"], question


def test_golden_generation_prompts(golden: tuple[ChatTokenizer, ModelConfig], golden_dir: Path) -> None:
    tokenizer, _ = golden
    cases = json.loads((golden_dir / "generation_prompts.json").read_text())
    assert cases
    for name, case in cases.items():
        question = case["prompt"].split(USER, 1)[1].removesuffix(f"<|eot_id|>{ANSWER}")
        text = render_conversation(question, tokenizer)
        assert text == case["prompt"], name
        assert tokenize_with_placeholders(text, tokenizer) == case["input_ids"], name


# --- without the recordings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COPIED))
def test_copied_prompts(name: str, toy_tokenizer: ChatTokenizer, toy_config: ModelConfig) -> None:
    case = COPIED[name]
    request = request_of(case["context"], case["images"], case["video"], case["mode"])
    prompt = prepare(request, toy_tokenizer, toy_config)
    assert prompt.text == OPENING + case["prompt_end"]
    assert prompt.token_ids.count(IMAGE_PLACEHOLDER_ID) == len(prompt.pixels) == case["placeholders"]
    assert stop_strings(request, case["stop_in"], toy_tokenizer) == tuple(case["stop"])


@given(texts=st.lists(st.text(st.sampled_from("ab \n.é"), max_size=5), min_size=1, max_size=4))
def test_first_token_after_every_placeholder_is_dropped(toy_tokenizer: ChatTokenizer, texts: list[str]) -> None:
    expected = [toy_tokenizer.bos_id, *toy_tokenizer.encode(texts[0])]
    for text in texts[1:]:
        expected += [IMAGE_PLACEHOLDER_ID, *toy_tokenizer.encode(text)[1:]]
    assert tokenize_with_placeholders("<|startoftext|>" + "<image>".join(texts), toy_tokenizer) == expected


def test_nothing_is_dropped_without_a_begin_of_text(toy_tokenizer: ChatTokenizer) -> None:
    a, b = toy_tokenizer.encode("a"), toy_tokenizer.encode("b")
    assert tokenize_with_placeholders("a<image>b", toy_tokenizer) == [*a, IMAGE_PLACEHOLDER_ID, *b]
    assert tokenize_with_placeholders("", toy_tokenizer) == []


@pytest.mark.parametrize("text", ["42", "[1]", "[]", '{"value": "hi"}', '"hi"', "null", '[{"value": 1}]', "[" * 9999])
def test_text_that_looks_like_json_is_text(text: str, toy_tokenizer: ChatTokenizer, toy_config: ModelConfig) -> None:
    prompt = prepare(Request(text), toy_tokenizer, toy_config)
    assert prompt.text == f"{OPENING}{USER}{text}<|eot_id|>{ANSWER}"


def test_even_number_of_turns_is_text(toy_tokenizer: ChatTokenizer) -> None:
    question = '[{"value": "hi"}, {"value": "hello"}]'
    assert render_conversation(question, toy_tokenizer) == f"{OPENING}{USER}{question}<|eot_id|>{ANSWER}"


def test_empty_question_leaves_no_turn(toy_tokenizer: ChatTokenizer, toy_config: ModelConfig) -> None:
    assert prepare(Request(""), toy_tokenizer, toy_config).text == OPENING + ANSWER
    assert (
        prepare(Request("", (noise(),)), toy_tokenizer, toy_config).text == f"{OPENING}{USER}<image><|eot_id|>{ANSWER}"
    )


@pytest.mark.parametrize("mode", ["think", "no_think", None])
def test_mode_needs_media_and_no_placeholder_of_its_own(
    mode: Any, toy_tokenizer: ChatTokenizer, toy_config: ModelConfig
) -> None:
    suffix = f" /{mode}" if mode else ""
    with_image = prepare(Request("Why?", (noise(),), mode=mode), toy_tokenizer, toy_config)
    assert with_image.text == f"{OPENING}{USER}<image>\nWhy?{suffix}<|eot_id|>{ANSWER}"
    placed = prepare(Request("Why <image>?", (noise(),), mode=mode), toy_tokenizer, toy_config)
    assert placed.text == f"{OPENING}{USER}Why <image>?<|eot_id|>{ANSWER}"
    assert (
        prepare(Request("Why?", mode=mode), toy_tokenizer, toy_config).text == f"{OPENING}{USER}Why?<|eot_id|>{ANSWER}"
    )


def test_pixels_follow_the_layout(toy_tokenizer: ChatTokenizer, toy_config: ModelConfig, tmp_path: Path) -> None:
    one, other = noise(40, 30, 1), noise(9, 70, 2)
    single = prepare(Request("Q", (one,)), toy_tokenizer, toy_config)
    assert (single.layout, single.image_sizes) == ("anyres", ((40, 30),))
    assert torch.equal(single.pixels[0], anyres_pixels(one, toy_config))
    several = prepare(Request("Q", (one, other)), toy_tokenizer, toy_config)
    assert (several.layout, several.image_sizes) == ("pad", ((40, 30), (9, 70)))
    assert torch.equal(several.pixels[1], pad_pixels(other, toy_config))
    path = write_video(tmp_path / "a.mp4", 10)
    for video in (path, str(path), (one, other)):
        shown = prepare(Request("Q", video=video, num_frames=6), toy_tokenizer, toy_config)
        assert (shown.layout, shown.image_sizes, len(shown.pixels)) == ("video", (), 1)
        assert shown.pixels[0].shape == (6, 3, 16, 16)
    assert torch.equal(shown.pixels[0][0], shown.pixels[0][4])  # two frames, the first five times
    assert not torch.equal(shown.pixels[0][4], shown.pixels[0][5])


def test_a_checkpoint_trained_on_squares_gets_one_tile_an_image(toy_tokenizer: ChatTokenizer) -> None:
    image, config = noise(40, 9), make_config(16, "pad")
    prompt = prepare(Request("q", (image,)), toy_tokenizer, config)
    assert prompt.layout == "pad"
    assert torch.equal(prompt.pixels[0], pad_pixels(image, config))


def test_placeholders_of_the_text_choose_the_images(toy_tokenizer: ChatTokenizer, toy_config: ModelConfig) -> None:
    images = (noise(40, 30, 1), noise(9, 70, 2))
    fewer = prepare(Request("Only <image>", images), toy_tokenizer, toy_config)
    assert (fewer.layout, fewer.image_sizes) == ("pad", ((40, 30),))
    more = prepare(Request("<image> <image> <image>", images), toy_tokenizer, toy_config)
    assert more.image_sizes == ((40, 30), (9, 70), (9, 70))
    assert torch.equal(more.pixels[1], more.pixels[2])
    twice = prepare(Request("<image> and <image>", video=images, num_frames=2), toy_tokenizer, toy_config)
    assert [len(frames) for frames in twice.pixels] == [2, 2]
    for text, given_images in (("<image>" * 4, images), ("<image>", ())):
        with pytest.raises(SampleError, match="placeholders for"):
            prepare(Request(text, given_images), toy_tokenizer, toy_config)


def test_unreadable_media_are_named(toy_tokenizer: ChatTokenizer, toy_config: ModelConfig, tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(MediaError, match="image 2 of 2: truncated"):
        prepare(Request("Q", (noise(), Image.open(tmp_path / "a.png"))), toy_tokenizer, toy_config)
    with pytest.raises(MediaError, match="video frame 1 of 1: truncated"):
        prepare(Request("Q", video=(Image.open(tmp_path / "a.png"),)), toy_tokenizer, toy_config)
    with pytest.raises(MediaError, match="no frames"):
        prepare(Request("Q", video=()), toy_tokenizer, toy_config)
    with pytest.raises(SampleError, match="images and a video"):
        prepare(Request("Q", (noise(),), (noise(),)), toy_tokenizer, toy_config)


def test_stop_strings_keep_their_order(toy_tokenizer: ChatTokenizer) -> None:
    image, text = Request("Q", (noise(),)), Request("Q")
    assert stop_strings(image, "\n", toy_tokenizer) == ("\n", "<|eot_id|>")
    assert stop_strings(image, ("<|eot_id|>", "\n"), toy_tokenizer) == ("<|eot_id|>", "\n")
    assert stop_strings(Request("Q", video="a.mp4"), (), toy_tokenizer) == ("<|eot_id|>",)
    assert stop_strings(text, ("\n",), toy_tokenizer) == ("\n",)
    assert stop_strings(text, (), toy_tokenizer) == ()
