"""DiffusionGemma behind ``hf:``: a tiny random one through its real processor and its own generate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_hf import write_hf
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lladav_eval.adapters.hf_diffusion import DiffusionGemmaAnswerer
from lladav_eval.adapters.hf_inputs import ask as prepare
from lladav_eval.adapters.hf_inputs import tensors
from lladav_eval.adapters.models import resolve_model
from lladav_eval.errors import SettingError
from lladav_eval.records import Generation, Question, Request, SamplingParams

CANVAS = 8
PARAMS = SamplingParams(16, 16, 16)


def picture(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def requests() -> list[Request]:
    return [
        Request("Read the digits.", (picture(24, 24, 0),)),
        Request("Which image <image> shows a digit, <image>?", (picture(24, 24, 2), picture(40, 24, 3))),
        Request("List each digit"),
        Request("Which way does the digit move?", video=tuple(picture(24, 24, n) for n in range(5)), num_frames=2),
    ]


def ask(model: DiffusionGemmaAnswerer, asked: list[Request], params: SamplingParams = PARAMS) -> list[Generation]:
    return model.answer([Question("toy", index, request, params) for index, request in enumerate(asked)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemmaAnswerer:
    directory = write_hf("diffusion_gemma", tmp_path_factory.mktemp("diffusion_gemma"))
    found = resolve_model(f"hf:{directory}", "cpu", batch_size=8)
    assert isinstance(found, DiffusionGemmaAnswerer)
    return found


def test_it_is_its_own_generate_that_answers(model: DiffusionGemmaAnswerer) -> None:
    """The same tokens as a plain call with the sample's seed, which is what makes the answers its own."""
    from lladav_eval.adapters.hf_decoding import prompt_seed

    for request in requests():
        answer = ask(model, [request])[0]
        asked = prepare(request, model.processor, takes_video=False)
        inputs = tensors([asked], model.processor)
        torch.manual_seed(prompt_seed(0, asked.text))
        output = model.model.generate(**inputs, max_new_tokens=16)
        plain = output.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        end = next((place for place, token in enumerate(plain) if token in model.eos_ids), len(plain))
        assert answer.token_ids == tuple(plain[:end])
        assert answer.prompt_tokens == inputs["input_ids"].shape[1]


def test_neither_order_nor_company_nor_the_global_generator_changes_an_answer(model: DiffusionGemmaAnswerer) -> None:
    together = ask(model, requests())
    assert [answer.error for answer in together] == [None] * 4
    torch.manual_seed(99)
    state = torch.get_rng_state()
    backwards = ask(model, requests()[::-1])[::-1]
    assert torch.equal(torch.get_rng_state(), state)
    alone = [ask(model, [request])[0] for request in requests()]
    for first, second, third in zip(together, backwards, alone, strict=True):
        assert first.token_ids == second.token_ids == third.token_ids
    assert len({answer.token_ids for answer in together}) == 4
    other = ask(model, requests(), SamplingParams(16, 16, 16, seed=5))
    assert [answer.token_ids for answer in other] != [answer.token_ids for answer in together]


def test_every_forward_pass_is_counted(model: DiffusionGemmaAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    for part in ("encoder", "decoder"):
        module = getattr(model.model.model, part)
        real = module.forward
        monkeypatch.setattr(
            module, "forward", lambda *args, real=real, part=part, **named: (seen.append(part), real(*args, **named))[1]
        )
    answer = ask(model, requests()[2:3])[0]
    assert answer.forward_passes == len(seen)
    assert seen[0] == "encoder"
    assert answer.output_tokens == CANVAS * seen.count("encoder")
    assert 2 <= seen.count("decoder") <= 5 * seen.count("encoder")  # max_denoising_steps of the checkpoint


def test_cost_is_counted_as_for_every_model(model: DiffusionGemmaAnswerer) -> None:
    answer = ask(model, requests()[:1])[0]
    assert answer.prefill_seconds is not None
    assert answer.decode_seconds is not None
    assert answer.prefill_seconds + answer.decode_seconds == pytest.approx(answer.seconds)
    assert answer.prefill_seconds < answer.seconds
    assert answer.media_seconds
    text = ask(model, requests()[2:3])[0]
    model.model.set_experts_implementation("eager")  # the counter doesn't know grouped products
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            again = ask(model, requests()[2:3])[0]
    finally:
        model.model.set_experts_implementation("grouped_mm")
    assert again.token_ids == text.token_ids
    assert text.flops == pytest.approx(counter.get_total_flops(), rel=0.03)
    assert (answer.flops or 0) > (text.flops or 0)


def test_the_answer_ends_at_the_end_of_text_a_stop_string_or_its_length(model: DiffusionGemmaAnswerer) -> None:
    request = requests()[2]
    free = ask(model, [request], SamplingParams(12, 12, 12))[0]
    assert len(free.token_ids) <= 12
    before = model.eos_ids
    ended = free.token_ids[3]
    model.eos_ids, model.model.generation_config.eos_token_id = {ended}, [ended]
    try:
        answer = ask(model, [request], SamplingParams(12, 12, 12))[0]
    finally:
        model.eos_ids, model.model.generation_config.eos_token_id = before, sorted(before)
    assert answer.token_ids == free.token_ids[: free.token_ids.index(ended)]
    assert answer.stop_reason == "stop"
    stop = model.processor.tokenizer.decode(free.token_ids[2:4])
    stopped = ask(model, [request], SamplingParams(12, 12, 12, stop=(stop,)))[0]
    assert stopped.stop_reason == "stop"
    assert stop not in stopped.text
    assert stopped.output_tokens == CANVAS  # it ended after the canvas with the stop string in it


def test_settings_it_does_not_have_are_refused(model: DiffusionGemmaAnswerer) -> None:
    for params in (
        SamplingParams(8, 8, 8, temperature=1.0),
        SamplingParams(8, 8, 8, cfg_scale=1.0),
        SamplingParams(8, 8, 8, cache="prefix"),
    ):
        with pytest.raises(SettingError, match="DiffusionGemma"):
            ask(model, requests()[:1], params)


def test_the_manifest_says_how_it_denoises(model: DiffusionGemmaAnswerer) -> None:
    facts = model.description()
    assert (facts["kind"], facts["canvas_length"], facts["video"]) == ("diffusion", CANVAS, "images")
    assert facts["denoising"]["max_denoising_steps"] == "5"


def test_broken_logits_fail_the_sample(model: DiffusionGemmaAnswerer, tmp_path: Path) -> None:
    weight = model.model.lm_head.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
    try:
        answer = ask(model, requests()[2:3])[0]
    finally:
        with torch.no_grad():
            weight.copy_(before)
    assert answer.status == "failed"
    assert "not finite" in (answer.error or "")
