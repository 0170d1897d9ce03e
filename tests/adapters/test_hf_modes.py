"""Think modes: by the template's switch, by what a family's card says, or not at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_hf import FAMILIES, write_hf

from lladav_eval.adapters.autoregressive import HfAnswerer, load_hf
from lladav_eval.adapters.hf_inputs import ask
from lladav_eval.adapters.hf_modes import BY_SWITCH, INTERNVL_3_5, MIMO_VL_2508, NO_MODES, modes_of
from lladav_eval.records import Question, Request, SamplingParams

SWITCHED = "{% if enable_thinking is defined and not enable_thinking %}</think>{% endif %}"


def prompts(model: HfAnswerer) -> dict[str, str]:
    """The rendered prompt in each mode."""
    modes: dict[str, Any] = {"none": None, "think": "think", "no_think": "no_think"}
    requests = {name: Request("List each digit", mode=mode) for name, mode in modes.items()}
    return {name: ask(request, model.processor, model.modes).text for name, request in requests.items()}


def loaded(directory: Path) -> HfAnswerer:
    return load_hf(str(directory), "cpu", None, batch_size=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_without_modes_is_asked_the_same_in_all(family: str, tmp_path: Path) -> None:
    model = loaded(write_hf(family, tmp_path / family))
    assert model.modes is NO_MODES
    assert len(set(prompts(model).values())) == 1


def test_a_template_with_the_switch_gets_it(tmp_path: Path) -> None:
    from tiny_hf import _TEMPLATE

    model = loaded(write_hf("qwen2_vl", tmp_path, template=_TEMPLATE + SWITCHED))
    assert model.modes is BY_SWITCH
    found = prompts(model)
    assert found["no_think"] == found["think"] + "</think>"
    assert found["none"] == found["think"]
    assert model.description()["think_modes"] == "switch"


def test_mimo_vl_is_told_at_the_end_of_the_question(tmp_path: Path) -> None:
    named = write_hf("qwen2_5_vl", tmp_path / "MiMo-VL-7B-RL-2508")
    unnamed = write_hf("qwen2_5_vl", tmp_path / "Qwen2.5-VL-7B-Instruct")
    model, plain = loaded(named), loaded(unnamed)
    assert model.modes is MIMO_VL_2508
    assert plain.modes is NO_MODES
    assert "List each digit /no_think<|eot_id|>" in prompts(model)["no_think"]
    assert prompts(model)["think"] == prompts(model)["none"] == prompts(plain)["no_think"]
    assert model.weights_hash == plain.weights_hash
    assert model.fingerprint != plain.fingerprint  # the same files, asked in other words
    answer = model.answer([Question("t", 0, Request("List each digit", mode="no_think"), SamplingParams(4, 4, 4))])[0]
    assert answer.prompt_tokens == len(model.processor.tokenizer(prompts(model)["no_think"])["input_ids"])


@pytest.mark.parametrize(
    ("text", "expected"), [("qwen3", INTERNVL_3_5), ("gpt_oss", INTERNVL_3_5), ("qwen2", NO_MODES)]
)
def test_internvl_is_told_by_the_system(text: str, expected: Any, tmp_path: Path) -> None:
    model = loaded(write_hf("llava_next", tmp_path))
    config = SimpleNamespace(model_type="internvl", get_text_config=lambda: SimpleNamespace(model_type=text))
    assert modes_of("hf:x", config, model.processor) is expected
    model.modes = INTERNVL_3_5
    found = prompts(model)
    assert found["none"] == found["no_think"]
    system = found["think"].index("system")
    assert system < found["think"].index("<think> and </think>") < found["think"].index("List each digit")
