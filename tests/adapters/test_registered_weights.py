"""lmms-eval's own model classes behind ``lmms:`` on tiny random weights: asked, timed, failing by the sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tiny_hf import write_hf

from lladav_eval.adapters.models import resolve_model
from lladav_eval.adapters.registered import RegisteredAnswerer
from lladav_eval.records import Question, Request, RunSpec, SamplingParams
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory

PARAMS = SamplingParams(6, 6, 6)
RED, GREY = Image.new("RGB", (24, 16), (255, 0, 0)), Image.new("RGB", (16, 24), (99, 99, 99))
SMALL = ",min_pixels=1024,max_pixels=4096"
MODELS = {
    "qwen2_vl": ("qwen2_vl", 2, SMALL),
    "qwen2_5_vl": ("qwen2_5_vl", 2, SMALL),
    "qwen3_vl": ("qwen3_vl", 2, SMALL),
    "gemma3": ("gemma3", 2, ""),
    "llava_hf": ("llava_next", 1, ""),
}
"""lmms-eval's name -> (family of the weights, largest batch the class takes, more arguments)."""
Name = Callable[[str], str]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Name:
    """What follows ``--model`` for one of MODELS; its weights are written once."""
    made: dict[str, Path] = {}

    def name(model: str) -> str:
        family, _, more = MODELS[model]
        if family not in made:
            made[family] = write_hf(family, tmp_path_factory.mktemp(family))
            settings = made[family] / "tokenizer_config.json"  # lmms-eval's classes pad, as published tokenizers can
            settings.write_text(json.dumps({**json.loads(settings.read_text()), "pad_token": "<|endoftext|>"}))
        return f"lmms:{model},pretrained={made[family]},device_map=cpu{more}"

    return name


@pytest.mark.parametrize("model", MODELS)
def test_a_registered_class_answers(model: str, named: Name) -> None:
    answerer = resolve_model(named(model), "cpu", batch_size=MODELS[model][1])
    assert isinstance(answerer, RegisteredAnswerer)
    requests = [
        Request("Read the digits.", (RED,)),
        Request("Which image shows a digit?", (RED, GREY)),
        Request("List each digit", (GREY,)),
    ]
    answers = answerer.answer([Question("toy", row, request, PARAMS) for row, request in enumerate(requests)])
    assert [answer.error for answer in answers] == [None] * 3
    assert all(answer.text for answer in answers)
    assert len({answer.text for answer in answers}) == 3
    assert all(answer.seconds > 0 and answer.media_seconds is not None for answer in answers)
    assert {answer.output_tokens for answer in answers} <= {None, 6}  # some of the classes count, some don't


def test_what_a_class_cannot_do_fails_those_samples_alone(named: Name) -> None:
    """The class for LLaVA asks for an image in every question."""
    answerer = resolve_model(named("llava_hf"), "cpu", batch_size=1)
    questions = [Question("toy", 0, Request("a digit", (RED,)), PARAMS), Question("toy", 1, Request("a digit"), PARAMS)]
    answers = answerer.answer(questions)
    assert [answer.status for answer in answers] == ["ok", "failed"]
    assert "lmms:llava_hf failed" in (answers[1].error or "")


def test_a_run_of_a_registered_class_leaves_a_whole_run(
    named: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "datasets"))
    name = named("qwen2_5_vl")
    spec = RunSpec(tasks=("lladav_pocket_images",), model=name, limit=4, batch_size=2)
    result = execute(spec, lambda: resolve_model(name, "cpu", batch_size=2), RunDirectory(tmp_path / "run"))
    task = result.results["tasks"]["lladav_pocket_images"]
    assert (task["n"], task["failed"], task["cost"]["answered"]) == (4, 0, 4)
    assert task["cost"]["output_tokens"]["known"] == 4
    assert task["seconds_per_sample"] > 0
