"""``hf:`` models: tiny random ones of seven families through real processors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_hf import FAMILIES, HAS_VIDEO, write_hf
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lladav_eval.adapters.autoregressive import HfAnswerer, load_hf
from lladav_eval.adapters.models import resolve_model
from lladav_eval.batching import _can_watch_resident
from lladav_eval.errors import CheckpointError, EnvironmentError_, SettingError
from lladav_eval.records import Generation, Question, Request, SamplingParams

PARAMS = SamplingParams(6, 6, 6)
Load = Callable[[str], HfAnswerer]


def picture(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def requests() -> list[Request]:
    """Every kind, in different lengths."""
    return [
        Request("Read the digits.", (picture(16, 16, 0),)),
        Request("Which digit is in the picture?", (picture(40, 20, 1),), mode="no_think"),
        Request("Which image <image> shows a digit, <image>?", (picture(16, 16, 2), picture(30, 10, 3))),
        Request("List each digit"),
        Request("Is there a digit in the picture?"),
        Request(
            "Which way does the digit move?", video=tuple(picture(16, 16, seed) for seed in range(5)), num_frames=4
        ),
        Request("Read the digits.", video=tuple(picture(24, 16, seed) for seed in range(3)), num_frames=4),
    ]


def ask(model: HfAnswerer, asked: list[Request], params: SamplingParams = PARAMS) -> list[Generation]:
    return model.answer([Question("toy", index, request, params) for index, request in enumerate(asked)])


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """The model of a family, written once."""
    loaded: dict[str, HfAnswerer] = {}

    def get(family: str) -> HfAnswerer:
        if family not in loaded:
            directory = write_hf(family, tmp_path_factory.mktemp(family))
            loaded[family] = load_hf(str(directory), "cpu", None, batch_size=8)
        return loaded[family]

    return get


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_request_is_answered_the_same_at_every_batch_size(load: Load, family: str) -> None:
    model = load(family)
    together = ask(model, requests())
    assert [answer.error for answer in together] == [None] * len(requests())
    smaller = []
    for model.batch_size in (2, 1):
        smaller.append(ask(model, requests()))
    pairs, alone = smaller
    assert [answer.token_ids for answer in pairs] == [answer.token_ids for answer in alone]
    model.batch_size = 8
    backwards = ask(model, requests()[::-1])[::-1]
    for first, second, third in zip(together, alone, backwards, strict=True):
        assert first.token_ids == second.token_ids == third.token_ids
        assert first.prompt_tokens == second.prompt_tokens
        assert first.flops == pytest.approx(second.flops)
    assert len({answer.token_ids for answer in together}) > 3


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_decoding_equals_reading_everything_again(load: Load, family: str) -> None:
    """The plain loop: no cache, no padding, no generate."""
    model = load(family)
    request = requests()[3]
    answer = ask(model, [request], SamplingParams(8, 8, 8))[0]
    from lladav_eval.adapters.hf_inputs import ask as prepare
    from lladav_eval.adapters.hf_inputs import tensors

    ids = tensors([prepare(request, model.processor)], model.processor)["input_ids"]
    chosen: list[int] = []
    with torch.inference_mode():
        while len(chosen) < 8:
            token = int(model.model(input_ids=ids, use_cache=False).logits[0, -1].argmax())
            if token in model.eos_ids:
                break
            chosen.append(token)
            ids = torch.cat((ids, torch.tensor([[token]])), dim=1)
    assert answer.token_ids == tuple(chosen)


@pytest.mark.parametrize("family", FAMILIES)
def test_media_reach_the_model(load: Load, family: str) -> None:
    model = load(family)
    question = "Read the digits."
    logits: list[torch.Tensor] = []
    answers = []
    for image in (Image.new("RGB", (32, 32), (255, 0, 0)), picture(32, 32, 10)):
        seen: list[torch.Tensor] = []
        hook = model.model.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output.logits[0, -1]))
        answers += ask(model, [Request(question, (image,))])
        hook.remove()
        logits.append(seen[0])
    assert not torch.allclose(logits[0], logits[1], rtol=1e-3)
    first, second = answers
    text = ask(model, [Request(question)])[0]
    assert first.prompt_tokens == second.prompt_tokens
    assert (first.prompt_tokens or 0) > (text.prompt_tokens or 0)
    assert (first.flops or 0) > (text.flops or 0)
    assert model.description()["video"] == ("video" if family in HAS_VIDEO else "images")


def test_forward_passes_are_one_a_token_for_each_row_alone(load: Load) -> None:
    model = load("llava_next")
    answers = ask(model, requests()[3:5], SamplingParams(12, 12, 12))
    assert [answer.forward_passes for answer in answers] == [12, 12]
    stop = model.processor.tokenizer.decode(answers[0].token_ids[4:6])
    assert stop not in answers[1].text
    stopped = ask(model, requests()[3:5], SamplingParams(12, 12, 12, stop=(stop,)))
    assert stopped[0].stop_reason == "stop"
    assert 5 <= stopped[0].forward_passes <= 7
    assert stop not in stopped[0].text
    assert answers[0].text.startswith(stopped[0].text)
    assert stopped[1].forward_passes == 12


def test_the_end_of_text_ends_an_answer_and_counts_as_a_pass(load: Load) -> None:
    model = load("llava_next")
    free = ask(model, requests()[3:4], SamplingParams(6, 6, 6))[0]
    before, model.eos_ids = model.eos_ids, {free.token_ids[2]}
    model.model.generation_config.eos_token_id = [free.token_ids[2]]
    try:
        ended = ask(model, requests()[3:4], SamplingParams(6, 6, 6))[0]
    finally:
        model.eos_ids = before
        model.model.generation_config.eos_token_id = sorted(before)
    first = free.token_ids.index(free.token_ids[2])
    assert ended.token_ids == free.token_ids[:first]
    assert (ended.forward_passes, ended.output_tokens, ended.stop_reason) == (first + 1, first + 1, "stop")


def test_temperature_draws_from_each_samples_own_generator(load: Load) -> None:
    model = load("qwen2_vl")
    params = SamplingParams(6, 6, 6, temperature=2.0, seed=1)
    together = [answer.token_ids for answer in ask(model, requests()[:5], params)]
    alone = [ask(model, [request], params)[0].token_ids for request in requests()[:5]]
    assert together == alone
    other = ask(model, requests()[:5], SamplingParams(6, 6, 6, temperature=2.0, seed=2))
    assert together != [answer.token_ids for answer in other]


def test_only_the_samples_that_cannot_be_asked_fail(load: Load, tmp_path: Path) -> None:
    model = load("qwen2_vl")
    narrow = Request("Read the digits.", (picture(1, 900, 0),))  # Qwen2-VL refuses such a shape
    missing = Request("Which way?", video=tmp_path / "gone.mp4")
    placeholders = Request("<image> <image> <image>", (picture(16, 16, 0),))
    long = Request("digit " * 3000)
    good = requests()[0]
    answers = ask(model, [good, narrow, missing, placeholders, long, good])
    assert [answer.status for answer in answers] == ["ok", "failed", "failed", "failed", "failed", "ok"]
    assert answers[0].token_ids == answers[5].token_ids
    for answer, reason in zip(
        answers[1:5], ("processor rejects", "gone.mp4", "placeholders", "made for 2048"), strict=True
    ):
        assert reason in (answer.error or "")


def test_out_of_memory_halves_the_batch(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("qwen2_vl")
    texts = [Request(f"List each digit {number}") for number in range(5)]
    expected = [answer.token_ids for answer in ask(model, texts)]
    sizes: list[int] = []
    real = model.model.generate

    def limited(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(**inputs)

    monkeypatch.setattr(model.model, "generate", limited)
    assert [answer.token_ids for answer in ask(model, texts)] == expected
    assert sizes == [5, 2, 3, 1, 2]


def test_a_video_file_is_told_with_its_times(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for value in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), value * 30, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    from lladav_eval.adapters.hf_inputs import ask as prepare
    from lladav_eval.adapters.hf_inputs import tensors

    model = load("qwen3_vl")
    asked = prepare(Request("Which way?", video=path, num_frames=4), model.processor)
    assert asked.video is not None
    assert (asked.video.indices, asked.video.fps) == ([0, 2, 4, 7], 4.0)
    ids = tensors([asked], model.processor)["input_ids"][0]
    prompt = model.processor.tokenizer.decode(ids)
    assert "<0.2 seconds>" in prompt.replace("<0.25", "<0.2")  # the mean of 0.0 s and 0.5 s
    assert "<1.4 seconds>" in prompt  # the mean of 1.0 s and 1.75 s


def test_one_begin_of_text_however_many_would_add_it(load: Load) -> None:
    from lladav_eval.adapters.hf_inputs import ask as prepare
    from lladav_eval.adapters.hf_inputs import tensors

    model = load("gemma3")
    ids = tensors([prepare(requests()[3], model.processor)], model.processor)["input_ids"][0].tolist()
    assert ids.count(model.processor.tokenizer.bos_token_id) == 1


def test_the_estimate_of_flops_is_near_what_torch_counts(load: Load) -> None:
    model = load("llava_next")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        answer = ask(model, requests()[3:4])[0]
    assert answer.flops == pytest.approx(counter.get_total_flops(), rel=0.02)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        answer = ask(model, requests()[1:2])[0]
    assert answer.flops == pytest.approx(counter.get_total_flops(), rel=0.3)


def test_times_add_up(load: Load) -> None:
    answer = ask(load("qwen2_vl"), requests()[:1])[0]
    assert answer.prefill_seconds is not None
    assert answer.decode_seconds is not None
    assert answer.prefill_seconds + answer.decode_seconds == pytest.approx(answer.seconds)
    assert answer.media_seconds
    assert (answer.peak_memory is None) != _can_watch_resident()


def test_the_fingerprint_follows_files_and_number_type(load: Load, tmp_path: Path) -> None:
    first = load("llava_next")
    again = load_hf(str(first.directory), "cpu", None, batch_size=1)
    assert again.fingerprint == first.fingerprint
    half = load_hf(str(first.directory), "cpu", "bfloat16", batch_size=1)
    assert half.fingerprint != first.fingerprint
    assert [answer.status for answer in ask(half, requests())] == ["ok"] * len(requests())
    (tmp_path / "copy").mkdir()
    for file in first.directory.iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    template = tmp_path / "copy" / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert load_hf(str(tmp_path / "copy"), "cpu", None, batch_size=1).fingerprint != first.fingerprint


def test_the_checkpoints_own_generation_settings_stay_out(load: Load) -> None:
    assert load("qwen2_vl").model.generation_config.repetition_penalty in (None, 1.0)


def test_unusable_models_are_refused_with_one_line(tmp_path: Path, load: Load) -> None:
    from tiny_checkpoint import write_checkpoint

    with pytest.raises(CheckpointError, match="transformers can't load it"):
        load_hf(str(write_checkpoint(tmp_path / "lladav")), "cpu", None, batch_size=1)
    with pytest.raises(SettingError, match="need a diffusion model"):
        ask(load("qwen2_vl"), requests()[:1], SamplingParams(6, 6, 6, cfg_scale=1.0))


def test_a_package_that_only_this_model_needs_is_the_environments(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.smolvlm import processing_smolvlm

    directory = load("smolvlm").directory
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(EnvironmentError_, match=r"`num2words` is required .* `pip install num2words`"):
        load_hf(str(directory), "cpu", None, batch_size=1)


def test_the_name_leads_here(load: Load) -> None:
    directory = load("llava_next").directory
    model = resolve_model(f"hf:{directory}", "cpu", batch_size=2)
    assert isinstance(model, HfAnswerer)
    assert model.name == f"hf:{directory}"
    with pytest.raises(SettingError, match="--trace"):
        resolve_model(f"hf:{directory}", trace=True)
