"""The code for GPUs, on a device that is pretended (pretend_cuda.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pretend_cuda import CUDA, PretendCuda, PretendGraph, pretend_cuda
from tiny_hf import write_hf

import lladav_eval
from lladav_eval import LladaV, Request, SamplingParams
from lladav_eval.adapters.models import resolve_model
from lladav_eval.cli.main import invoke
from lladav_eval.errors import SettingError
from lladav_eval.pocket.evaluate import request_of, rows_of
from lladav_eval.records import Question

FORWARD = 100
"""Operations of a forward pass at least."""


@pytest.fixture
def device() -> Iterator[PretendCuda]:
    with pretend_cuda() as device:
        yield device


@pytest.fixture(scope="module")
def on_cpu() -> LladaV:
    return lladav_eval.load("pocket", device="cpu")


def requests() -> list[Request]:
    """With one picture, several, a video and none, in different lengths."""
    tasks = ("digits", "images", "video", "chart")
    asked = [request_of(row) for task in tasks for row in rows_of(task)[:2]]
    return [*asked, Request("Is there a digit?")]


def test_the_pretended_device_is_strict(device: PretendCuda) -> None:
    here, there = torch.arange(4.0), torch.arange(4.0, device="cuda")
    assert there.device == CUDA != here.device
    assert (there + 1).device == (there[1:] * there[0]).device == there.new_zeros(2).device == CUDA
    assert (there * torch.tensor(2.0)).tolist() == [0, 2, 4, 6]  # a number of main memory may take part
    for mix in (lambda: there + here, lambda: torch.cat((here, there)), lambda: there.copy_(here).add_(here)):
        with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
            mix()
    module = torch.nn.Linear(4, 2).to("cuda")
    assert module(there).device == CUDA
    with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        module(here)
    there[1:] = 7
    assert there.cpu().tolist() == [0, 7, 7, 7]
    with ThreadPoolExecutor() as pool, pytest.raises(RuntimeError, match="in a thread"):
        pool.submit(lambda: there + 1).result()


def test_the_pretended_device_counts_what_waits_for_it(device: PretendCuda) -> None:
    there = torch.arange(4.0).to("cuda")
    device.waits.clear()
    doubled = there + there + there
    assert device.waits == []
    doubled[there > 1].sum().item()
    doubled.cpu()
    doubled[torch.tensor([1])] = 0
    assert [name for name, _ in device.waits] == ["index", "item", "to cpu", "index"]
    assert device.waits[0][1] == 3


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cfg_scale": 1.0, "remasking": "random", "stop": ("1",)},
        {"temperature": 0.7},
        {"cache": "prefix", "threshold": 0.9},
        {"cache": "dual", "cfg_scale": 0.5},
        {"cache": "dllm:3,2,0.5"},
        {"early_commit": "prophet"},
    ],
    ids=str,
)
def test_every_mode_keeps_its_tensors_on_the_device(
    device: PretendCuda, on_cpu: LladaV, settings: dict[str, Any]
) -> None:
    params = SamplingParams(8, 4, 8, **settings)
    there = lladav_eval.load("pocket", device="cuda", dtype="float32")
    assert there.model.device == CUDA
    answers = there.generate(requests(), params, batch_size=None)
    assert [answer.error for answer in answers] == [None] * len(answers)
    expected = on_cpu.generate(requests(), params)
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_its_tensors_on_the_device(device: PretendCuda, dtype: str) -> None:
    there = lladav_eval.load("pocket", device="cuda", dtype=dtype)
    for params in (SamplingParams(8, 4, 8), SamplingParams(8, 4, 8, cache="dllm")):
        assert all(answer.status == "ok" for answer in there.generate(requests(), params))


def test_the_twin_and_the_likelihood_keep_their_tensors_on_the_device(device: PretendCuda, on_cpu: LladaV) -> None:
    twin = lladav_eval.load("pocket-ar", device="cuda", dtype="float32")
    params = SamplingParams(8, 8, 8)
    expected = lladav_eval.load("pocket-ar", device="cpu").generate(requests(), params)
    answers = twin.generate(requests(), params)
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]
    there = lladav_eval.load("pocket", device="cuda", dtype="float32")
    likely = [model.log_likelihood(requests()[:1], ["12"], draws=4)[0].value for model in (there, on_cpu)]
    assert likely[0] == pytest.approx(likely[1], abs=1e-4)


@pytest.mark.parametrize("cache", [None, "prefix", "dllm"])
def test_a_step_waits_for_its_forward_pass_once(device: PretendCuda, cache: str | None) -> None:
    """Every other wait comes while the device has next to nothing to do."""
    model = lladav_eval.load("pocket", device="cuda", dtype="float32")
    steps = 8
    params = SamplingParams(steps, steps, steps, cache=cache)

    def waits(samples: int) -> list[int]:
        device.waits.clear()
        asked = [request_of(row) for row in rows_of("counts")[:samples]]
        answers = model.generate(asked, params, batch_size=samples)
        assert {answer.forward_passes for answer in answers} == {steps}
        return [queued for _, queued in device.waits]

    few, many = waits(2), waits(6)
    for found in (few, many):
        assert sum(queued > FORWARD for queued in found) == steps + 1, "one of each step, one of the vision tower"
    # What is computed of a sample is sent at every step, which of its visual tokens at the first.
    sent_for_each = 0 if cache is None else steps + 1
    assert len(many) - len(few) == sent_for_each * 4


@pytest.mark.parametrize(
    "settings",
    [
        {"cache": "prefix"},
        {"cache": "prefix:4", "cfg_scale": 0.5},
        {"cache": "dual", "threshold": 0.9},
        {"cache": "dllm:8,3,0.5"},
        {"cache": "dllm:4,4,0"},
    ],
    ids=str,
)
def test_graphs_of_small_steps_answer_alike(
    device: PretendCuda, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    graphs: list[PretendGraph] = []

    def new() -> PretendGraph:
        graphs.append(PretendGraph())
        return graphs[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", new)
    params = SamplingParams(16, 8, 16, **settings)
    plain, replayed = (
        lladav_eval.load("pocket", device="cuda", dtype="float32", cuda_graphs=wanted) for wanted in (False, True)
    )
    for batch_size in (1, 3):
        expected = plain.generate(requests(), params, batch_size=batch_size)
        assert not graphs
        answers = replayed.generate(requests(), params, batch_size=batch_size)
        assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]
        assert all(graph.replays for graph in graphs), "a graph that is recorded is used"
        assert sum(graph.replays for graph in graphs) > len(graphs), "and most of them more than once"
        graphs.clear()


def test_an_autoregressive_model_has_no_graphs(device: PretendCuda) -> None:
    with pytest.raises(SettingError, match="cuda-graphs: pocket-ar, an autoregressive model, has none; leave it out"):
        lladav_eval.load("pocket-ar", device="cuda", cuda_graphs=True)


def test_a_run_goes_from_task_to_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("run", "--task", "pocket_digits,pocket_video", "--model", "pocket", "--limit", "6")

    def answers(run: str) -> list[str]:
        return [json.loads(line)["text"] for line in Path(run, "samples.jsonl").read_text().splitlines()]

    assert invoke((*command, "--device", "cpu", "--out", "here")) == 0
    with pretend_cuda() as device:
        assert invoke((*command, "--dtype", "float32", "--out", "there")) == 0
        assert device.waits
        assert invoke(("doctor", "--model", "pocket")) in (0, 3)  # 3: the hub can't be reached
    assert "a pretended GPU" in capsys.readouterr().out
    assert answers("here") == answers("there")


def test_models_of_transformers_are_asked_on_the_device(tmp_path: Path) -> None:
    directory = write_hf("llava_onevision", tmp_path)
    picture = Image.effect_noise((40, 24), 80).convert("RGB")
    questions = [
        Question("toy", index, Request(text, images), SamplingParams(6, 6, 6, temperature=temperature))
        for index, (text, images) in enumerate([("Read the digits.", (picture,)), ("Is there a digit?", ())])
        for temperature in (0.0, 0.7)
    ]
    expected = resolve_model(f"hf:{directory}", "cpu", batch_size=4).answer(questions)
    with pretend_cuda() as device:
        model = resolve_model(f"hf:{directory}", "cuda", "float32", batch_size=4)
        answers = model.answer(questions)
    assert device.waits
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
