"""The straight line Request -> Generation on a tiny random checkpoint: order, batches, failures, memory."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_checkpoint import write_checkpoint

import lladav_eval
from lladav_eval import Generation, LladaV, Request, SamplingParams, preparing
from lladav_eval.adapters.models import LladavAnswerer, resolve_model
from lladav_eval.errors import SettingError
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.language import PackedLayout
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import Prompt, Query

PARAMS = SamplingParams(gen_length=8, block_length=4, steps=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> LladaV:
    return lladav_eval.load(checkpoint, device="cpu")


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    return Image.fromarray(torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy())


def requests() -> list[Request]:
    """One of every kind, of different lengths."""
    clip = tuple(picture(16, 16, seed) for seed in range(5))
    return [
        Request("Read the digits.", (picture(16, 16),), mode="no_think"),
        Request("Which digit is in the picture?", (picture(40, 20, 1),), mode="think"),
        Request("Which image shows a digit?", (picture(16, 16, 2), picture(30, 10, 3))),
        Request("Which way does the digit move?", video=clip, num_frames=3),
        Request("List each digit"),
        Request("Is there a digit in the picture?", (picture(50, 50, 4),), mode="no_think"),
    ]


def same(first: Sequence[Generation], second: Sequence[Generation]) -> bool:
    return [answer.token_ids for answer in first] == [answer.token_ids for answer in second]


@pytest.mark.parametrize(
    "params",
    [
        PARAMS,
        SamplingParams(8, 8, 8, temperature=0.7, seed=3),
        SamplingParams(8, 4, 4, cfg_scale=0.5),
        SamplingParams(6, 3, 6, remasking="random", seed=1),
        SamplingParams(8, 8, 4, stop=("\n",), suffix=" right"),
    ],
)
def test_batch_size_and_order_never_change_an_answer(model: LladaV, params: SamplingParams) -> None:
    alone = model.generate(requests(), params, batch_size=1)
    assert all(answer.status == "ok" for answer in alone)
    for batch_size in (2, 3, 32):
        assert same(alone, model.generate(requests(), params, batch_size=batch_size))
    backwards = model.generate(requests()[::-1], params, batch_size=4)
    assert same(alone, backwards[::-1])


def test_fewer_large_requests_are_made_ready_and_media_let_go_of(
    model: LladaV, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[weakref.ref[Image.Image]] = []

    def asked() -> Iterator[tuple[Request, SamplingParams]]:
        for seed in range(30):
            image = picture(40, 40, seed)
            pictures.append(weakref.ref(image))
            yield Request("Which digit?", (image,)), PARAMS
            del image

    request = Request("Which digit?", (picture(40, 40),))
    prompt = model.preparer.prepare(request, PARAMS).prompt
    assert prompt is not None
    each = request.media_bytes + prompt.pixels[0].nbytes
    for most, drawn in ((1 << 30, 23), (2 * each + 1, 10), (2 * each, 9), (1, 8)):
        monkeypatch.setattr(preparing, "MOST_BYTES", most)
        pictures.clear()
        stream = model.stream(asked(), batch_size=8)
        first = next(stream)  # eight are under way, and up to sixteen wait
        assert len(pictures) == drawn
        if most == 1:
            assert sum(image() is not None for image in pictures) <= 1
        assert sum(len(finished) for finished in (first, *stream)) == 30


def test_what_waits_is_as_large_as_its_media_and_their_pixels(model: LladaV) -> None:
    for request in (*requests(), Request("Which is larger?", (picture(50, 50), picture(30, 10)))):
        prompt = model.preparer.prepare(request, PARAMS).prompt
        assert prompt is not None
        pixels = sum(medium.nbytes for medium in prompt.pixels)
        assert model.preparer._waiting_bytes(request) == request.media_bytes + pixels


def test_the_time_that_media_take_is_told(model: LladaV, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(perf_counter=count(10.0, 2.5).__next__)
    monkeypatch.setattr(preparing, "time", clock)
    assert model.preparer.prepare(requests()[0], PARAMS).media_seconds == 2.5


def test_leaving_early_waits_for_no_media(model: LladaV, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, free, ended = threading.Event(), threading.Event(), threading.Event()
    real = preparing.prepare

    def slow(request: Request, *rest: Any) -> Any:
        if request.text == "slow":
            begun.set()
            free.wait(20)
            ended.set()
        return real(request, *rest)

    monkeypatch.setattr(preparing, "prepare", slow)
    asked = ((request, PARAMS) for request in (Request("List each digit"), Request("slow")))
    stream = model.stream(asked, batch_size=1)
    next(stream)
    begun.wait()
    stream.close()  # as Ctrl-C does
    assert not ended.is_set()
    free.set()


def test_equally_long_prompts_attend_together_wherever_they_stand(
    model: LladaV, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = PackedLayout.build

    def noted(*arguments: Any) -> PackedLayout:
        seen.append(len(real(*arguments).all_groups))
        return real(*arguments)

    monkeypatch.setattr(PackedLayout, "build", noted)
    model.generate([Request(text) for text in ("digit", "each digit", "digit", "each digit")], PARAMS)
    assert set(seen) == {2}


def test_seed_changes_sampled_answers_and_nothing_else_does(model: LladaV) -> None:
    first, again, other = (
        model.generate(requests(), SamplingParams(8, 8, 8, temperature=1.5, seed=seed)) for seed in (0, 0, 1)
    )
    assert same(first, again)
    assert not same(first, other)


def test_a_failed_request_is_in_the_result_and_spares_the_others(model: LladaV, tmp_path: Path) -> None:
    missing = Request("Which way?", video=tmp_path / "gone.mp4")
    too_long = Request("digit " * 600)
    mixed = [requests()[0], missing, requests()[1], too_long, requests()[2]]
    answers = model.generate(mixed, PARAMS)
    assert [answer.status for answer in answers] == ["ok", "failed", "ok", "failed", "ok"]
    assert "gone.mp4" in (answers[1].error or "")
    assert "the model was trained for 512" in (answers[3].error or "")
    assert same([answers[0], answers[2], answers[4]], model.generate(requests()[:3], PARAMS))


@pytest.mark.parametrize("causal", [False, True])
def test_what_fails_at_the_end_or_alone_is_in_the_result_too(tmp_path: Path, causal: bool) -> None:
    model = lladav_eval.load(write_checkpoint(tmp_path, lladav_eval_causal=causal))
    missing = Request("Which way?", video=tmp_path / "gone.mp4")
    for good in (0, 2):
        answers = model.generate([*[Request("List each digit")] * good, missing, missing], PARAMS, batch_size=1)
        assert [answer.status for answer in answers] == ["ok"] * good + ["failed"] * 2


@pytest.mark.parametrize("causal", [False, True])
def test_a_batchs_time_is_shared_and_told_apart_by_first_and_later_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, causal: bool
) -> None:
    model = lladav_eval.load(write_checkpoint(tmp_path, lladav_eval_causal=causal))
    clock, calls, real, encode = [0.0], count(), BoundPrompts.__call__, LladavModel.encode_visuals

    def slow(self: BoundPrompts, queries: Sequence[Query]) -> list[torch.Tensor]:
        clock[0] += 1.0 if next(calls) else 5.0
        return real(self, queries)

    def encoded(self: LladavModel, prompts: Sequence[Prompt]) -> list[list[torch.Tensor]]:
        clock[0] += 3.0
        return encode(self, prompts)

    monkeypatch.setattr(BoundPrompts, "__call__", slow)
    monkeypatch.setattr(LladavModel, "encode_visuals", encoded)
    for module in ("continuous", "pipeline"):
        monkeypatch.setattr(f"lladav_eval.{module}.peak_memory", lambda device: 77)
        monkeypatch.setattr(f"lladav_eval.{module}.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    params = SamplingParams(8, 4, 4)
    answers = model.generate([Request("List each digit"), Request("digit")], params, batch_size=2)
    steps = 8 if causal else 4
    for answer in answers:
        assert answer.forward_passes == steps
        assert (answer.output_tokens, answer.stop_reason) == (8, "length")
        assert (answer.prefill_seconds, answer.decode_seconds) == ((3 + 5) / 2, (steps - 1) / 2)
        assert answer.seconds == (3 + 5 + steps - 1) / 2
        assert answer.peak_memory == 77
        assert answer.media_seconds is not None
        assert answer.flops


def test_trace_names_every_filled_position_once(model: LladaV) -> None:
    answer = model.generate(requests()[:1], PARAMS, trace=True)[0]
    assert answer.trace is not None
    filled = [position for step in answer.trace for position in step.positions]
    assert len(filled) == len(set(filled))
    assert answer.forward_passes == len(answer.trace)
    assert model.generate(requests()[:1], PARAMS)[0].trace is None


def test_guidance_counts_two_forward_passes_a_step(model: LladaV) -> None:
    plain, guided = (
        model.generate([Request("List each digit")], SamplingParams(4, 4, 4, cfg_scale=scale))[0] for scale in (0, 1)
    )
    assert (plain.forward_passes, guided.forward_passes) == (4, 8)


def test_out_of_memory_halves_the_batch_and_loses_nothing(model: LladaV, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = model.generate(requests(), PARAMS, batch_size=1)
    sizes: list[int] = []
    real = BoundPrompts.__call__

    def limited(self: BoundPrompts, queries: Sequence[Query]) -> list[torch.Tensor]:
        sizes.append(len(queries))
        if len(queries) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, queries)

    monkeypatch.setattr(BoundPrompts, "__call__", limited)
    assert same(expected, model.generate(requests(), PARAMS, batch_size=6))
    assert sizes[:2] == [6, 3]


def test_out_of_memory_alone_is_a_failed_sample(model: LladaV, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: BoundPrompts, queries: Sequence[Query]) -> list[torch.Tensor]:
        raise MemoryError

    monkeypatch.setattr(BoundPrompts, "__call__", never)
    answers = model.generate(requests()[:2], PARAMS)
    assert [answer.status for answer in answers] == ["failed", "failed"]
    assert "out of memory" in (answers[0].error or "")


def test_other_runtime_errors_are_not_swallowed(model: LladaV, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: BoundPrompts, queries: Sequence[Query]) -> list[torch.Tensor]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(BoundPrompts, "__call__", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        model.generate(requests()[:2], PARAMS)


def test_nan_weights_fail_the_sample_with_a_reason(checkpoint: Path) -> None:
    broken = lladav_eval.load(checkpoint)
    broken.model.lm_head.weight[5] = torch.nan
    answer = broken.generate(requests()[:1], PARAMS)[0]
    assert answer.status == "failed"
    assert "not finite" in (answer.error or "")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_answers_on_the_cpu(checkpoint: Path, dtype: str) -> None:
    model = lladav_eval.load(checkpoint, device="cpu", dtype=dtype)
    assert str(model.model.dtype) == f"torch.{dtype}"
    assert all(answer.status == "ok" for answer in model.generate(requests(), PARAMS))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_cuda_answers_like_the_cpu(checkpoint: Path, model: LladaV, dtype: str) -> None:
    cuda = lladav_eval.load(checkpoint, device="cuda", dtype=dtype)
    answers = cuda.generate(requests(), PARAMS)
    assert all(answer.status == "ok" for answer in answers)
    if dtype == "float32":
        assert same(answers, model.generate(requests(), PARAMS))


def test_autoregressive_twin_answers_left_to_right(tmp_path: Path) -> None:
    twin = lladav_eval.load(write_checkpoint(tmp_path, lladav_eval_causal=True))
    answers = twin.generate(requests(), PARAMS, batch_size=1)
    assert same(answers, twin.generate(requests(), PARAMS, batch_size=6))
    assert answers[4].forward_passes == 8
    for more in ({"temperature": 1.0}, {"cfg_scale": 0.5}, {"suffix": " right"}):
        params = dataclasses.replace(PARAMS, **more)
        with pytest.raises(SettingError, match="autoregressive and decodes greedily"):
            twin.generate([], params)
        with pytest.raises(SettingError, match="autoregressive and decodes greedily"):
            next(twin.stream([(requests()[0], params)]))
    with pytest.raises(SettingError, match="needs a diffusion checkpoint"):
        twin.log_likelihood(requests()[:1], ["a"])


def test_the_likelihood_of_an_answer_is_that_of_its_tokens_behind_the_prompt(model: LladaV) -> None:
    (token,) = model.tokenizer.encode("7")
    prompts = [model.preparer.prepare(request, PARAMS).prompt for request in requests()[:2]]
    bound = BoundPrompts.bind(model.model, [prompt for prompt in prompts if prompt is not None])
    queries = [
        Query(index, torch.cat((ids, torch.tensor([model.tokenizer.mask_id]))), torch.tensor([len(ids)]))
        for index, ids in enumerate(bound.token_ids)
    ]
    with torch.inference_mode():
        expected = [float(logits[0].double().log_softmax(0)[token]) for logits in bound(queries)]
    found = model.log_likelihood(requests()[:2], ["7", "7"])
    assert [estimate.value for estimate in found] == pytest.approx(expected, rel=1e-5)
    several = [model.log_likelihood(requests()[:1], ["1 2 3 4"], draws=3, seed=seed)[0] for seed in (0, 0, 1)]
    assert several[0] == several[1] != several[2]
    assert several[0].draws == 3


def test_weights_hash_tells_checkpoints_apart(model: LladaV, tmp_path: Path) -> None:
    other = lladav_eval.load(write_checkpoint(tmp_path, seed=1))
    assert other.weights_hash != model.weights_hash
    assert lladav_eval.load(model.directory).weights_hash == model.weights_hash


@pytest.mark.slow
def test_compiled_layers_give_the_same_tokens(checkpoint: Path, model: LladaV) -> None:
    compiled = resolve_model(str(checkpoint), accelerate=("compile",))
    assert isinstance(compiled, LladavAnswerer)
    assert hasattr(compiled.model.model.model.layers[0]._project, "_torchdynamo_orig_callable")
    assert same(model.generate(requests()[:2], PARAMS), compiled.model.generate(requests()[:2], PARAMS))
