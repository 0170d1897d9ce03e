"""Continuous batching: places are taken again, nothing is lost when memory runs out, and requests are drawn lazily."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import count, groupby
from operator import itemgetter
from typing import Any

import pytest
import torch
from tiny_checkpoint import write_checkpoint

import lladav_eval
from lladav_eval import Generation, LladaV, Request, SamplingParams
from lladav_eval.batching import is_out_of_memory
from lladav_eval.continuous import Batch, Done, Job
from lladav_eval.errors import past_time
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.memory import USABLE, PromptSize, at_once, batch_bytes
from lladav_eval.records import Prompt, Query
from lladav_eval.sampling.confidence import choose_tokens

PARAMS = SamplingParams(8, 4, 4)
MODES = {
    "exact": PARAMS,
    "prefix": SamplingParams(8, 4, 8, cache="prefix"),
    "threshold": SamplingParams(16, 16, 16, threshold=0.08),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LladaV:
    return lladav_eval.load(write_checkpoint(tmp_path_factory.mktemp("continuous")), device="cpu")


def requests(number: int = 7) -> list[Request]:
    return [Request("List each digit " + "right " * index) for index in range(number)]


def ids(answers: Sequence[Generation]) -> list[tuple[int, ...]]:
    assert all(answer.status == "ok" for answer in answers)
    return [answer.token_ids for answer in answers]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Queries of every forward pass."""
    seen: list[int] = []
    real = BoundPrompts.__call__

    def noted(self: BoundPrompts, queries: Sequence[Query]) -> list[torch.Tensor]:
        seen.append(len(queries))
        return real(self, queries)

    monkeypatch.setattr(BoundPrompts, "__call__", noted)
    return seen


def in_order(model: LladaV, mode: str) -> list[tuple[int, ...]]:
    """Answers in batches of four; where all take equally many steps, they come in the order of the requests."""
    asked = [(request, MODES[mode]) for request in requests()]
    found = [answer for answers in model.stream(asked, batch_size=4) for answer in answers]
    assert mode == "threshold" or [index for index, _ in found] == list(range(len(asked)))
    return ids([answer for _, answer in sorted(found, key=itemgetter(0))])


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Devices that were given their cached memory back."""
    seen: list[torch.device] = []
    monkeypatch.setattr("lladav_eval.continuous.release_memory", seen.append)
    return seen


@pytest.mark.parametrize("mode", MODES)
def test_a_finished_samples_place_is_taken(model: LladaV, sizes: list[int], mode: str) -> None:
    alone = model.generate(requests(), MODES[mode], batch_size=1)
    if mode == "threshold":
        assert len({answer.forward_passes for answer in alone}) > 1, "all take equally many steps: choose another model"
    passes = [answer.forward_passes for answer in alone]
    for order in (1, -1):
        sizes.clear()
        assert ids(model.generate(requests()[::order], MODES[mode], batch_size=3)) == ids(alone)[::order]
        assert sum(sizes) == sum(passes)
        assert sizes == sorted(sizes, reverse=True)  # full until nothing waits
        assert sizes[0] == 3


@pytest.mark.parametrize("mode", MODES)
def test_out_of_memory_in_a_step(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, sizes: list[int], released: list[torch.device], mode: str
) -> None:
    alone = ids(model.generate(requests(), MODES[mode], batch_size=1))
    sizes.clear()
    real, calls = BoundPrompts.__call__, count()

    def limited(self: BoundPrompts, queries: Sequence[Query]) -> list[torch.Tensor]:
        if next(calls) >= 2 and len(queries) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, queries)

    monkeypatch.setattr(BoundPrompts, "__call__", limited)
    assert in_order(model, mode) == alone
    assert sizes[:2] == [4, 4]
    assert max(sizes[2:]) == 2
    assert released == [model.model.device]


def test_out_of_memory_after_noise_was_drawn(model: LladaV, monkeypatch: pytest.MonkeyPatch) -> None:
    params = SamplingParams(8, 4, 4, temperature=1.0)
    alone = ids(model.generate(requests(4), params, batch_size=1))
    calls = count()

    def limited(*arguments: Any) -> Any:
        if next(calls) == 4 + 1:  # the second sample of the second step
            raise torch.OutOfMemoryError("CUDA out of memory")
        return choose_tokens(*arguments)

    monkeypatch.setattr("lladav_eval.sampling.loop.choose_tokens", limited)
    assert ids(model.generate(requests(4), params, batch_size=4)) == alone


@pytest.mark.parametrize("place", ["LladavModel.logits", "choose_tokens"])
@pytest.mark.parametrize("params", [*MODES.values(), SamplingParams(8, 4, 4, cfg_scale=0.5)])
def test_a_step_that_broke_off_costs_nothing(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, params: SamplingParams, place: str
) -> None:
    """Passes and operations are those of the answer, as they would be without it."""

    def cost(answers: Sequence[Generation]) -> list[tuple[int, float | None]]:
        return [(answer.forward_passes, answer.flops) for answer in answers]

    usual = cost(model.generate(requests(4), params, batch_size=4))
    name = f"lladav_eval.model.lladav.{place}" if "." in place else f"lladav_eval.sampling.loop.{place}"
    real, calls = LladavModel.logits if "." in place else choose_tokens, count()

    def limited(*arguments: Any, **named: Any) -> Any:
        found = real(*arguments, **named)
        if next(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(name, limited)
    assert cost(model.generate(requests(4), params, batch_size=4)) == usual


@pytest.mark.parametrize("mode", MODES)
def test_out_of_memory_while_encoding(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, sizes: list[int], mode: str
) -> None:
    alone = ids(model.generate(requests(), MODES[mode], batch_size=1))
    sizes.clear()
    real = LladavModel.encode_visuals

    def limited(self: LladavModel, prompts: Sequence[Prompt]) -> list[list[torch.Tensor]]:
        if len(prompts) > 2:
            raise MemoryError
        return real(self, prompts)

    monkeypatch.setattr(LladavModel, "encode_visuals", limited)
    assert in_order(model, mode) == alone
    assert max(sizes) == 2


def test_out_of_memory_while_encoding_beside_others(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, sizes: list[int], released: list[torch.device]
) -> None:
    """Those under way go on as many as they are."""
    alone = ids(model.generate(requests(), MODES["threshold"], batch_size=1))
    sizes.clear()
    real, calls = LladavModel.encode_visuals, count()

    def limited(self: LladavModel, prompts: Sequence[Prompt]) -> list[list[torch.Tensor]]:
        if next(calls) == 1:
            raise MemoryError
        return real(self, prompts)

    monkeypatch.setattr(LladavModel, "encode_visuals", limited)
    assert ids(model.generate(requests(), MODES["threshold"], batch_size=3)) == alone
    assert [size for size, _ in groupby(sizes)] == [3, 2, 1]
    assert released == [model.model.device]


@pytest.mark.parametrize("mode", MODES)
def test_no_more_samples_than_memory_holds(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, sizes: list[int], mode: str
) -> None:
    """Prompts of different lengths, and room for so many tokens; one too long for it is tried alone."""
    alone = ids(model.generate(requests(), MODES[mode], batch_size=1))
    lengths = [len(model.preparer.prepare(request, PARAMS).prompt.token_ids) for request in requests()]  # type: ignore[union-attr]
    room, seen = lengths[0] + lengths[1], []

    def holds(sizes: Sequence[PromptSize]) -> bool:
        seen.append(sum(size.positions for size in sizes))
        return seen[-1] <= room

    monkeypatch.setattr(LladaV, "_holds", lambda self, params: holds)
    sizes.clear()
    assert ids(model.generate(requests(), MODES[mode], batch_size=None)) == alone
    assert max(sizes) == 2
    assert max(seen) > room
    room = 1
    sizes.clear()
    assert ids(model.generate(requests(3), MODES[mode], batch_size=None)) == alone[:3]
    assert max(sizes) == 1


def test_the_devices_free_memory_bounds_the_batch(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    asked = [Request("List each digit")] * 7
    prompt = model.preparer.prepare(asked[0], PARAMS).prompt
    assert prompt is not None
    three = [PromptSize.of(prompt, model.config)] * 3
    needed = batch_bytes(model.config, len(model.tokenizer), three, PARAMS, torch.float32, "cpu")
    monkeypatch.setattr("lladav_eval.pipeline.free_bytes", lambda device: math.ceil(needed / USABLE))
    model.generate(asked, PARAMS, batch_size=None)
    assert max(sizes) == 3


def test_memory_is_asked_about_whole_sequences_but_the_answer(model: LladaV, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def holds(sizes: Sequence[PromptSize]) -> bool:
        asked.extend(size.positions for size in sizes)
        return True

    monkeypatch.setattr(LladaV, "_holds", lambda self, params: holds)
    suffix = " right right"
    (answer, _) = model.generate([Request("digit")] * 2, SamplingParams(2, 2, 1, suffix=suffix), batch_size=None)
    assert answer.prompt_tokens is not None
    assert set(asked) == {answer.prompt_tokens + len(model.tokenizer.encode(suffix))}


def test_without_a_batch_size_memory_or_a_number_bounds_the_batch(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    asked = [Request("List each digit")] * 34
    for most, device, holds in ((32, "cpu", None), (34, "cuda", lambda sizes: True)):
        monkeypatch.setattr("lladav_eval.pipeline.at_once", lambda config, _, device=device: at_once(config, device))
        monkeypatch.setattr(LladaV, "_holds", lambda self, params, holds=holds: holds)
        sizes.clear()
        model.generate(asked, SamplingParams(2, 2, 1), batch_size=None)
        assert max(sizes) == most


def test_what_ran_out_of_memory_is_not_tried_again_however_much_was_thought_to_fit(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    alone = ids(model.generate(requests(), PARAMS, batch_size=1))
    sizes.clear()
    real, refused = BoundPrompts.__call__, []

    def limited(self: BoundPrompts, queries: Sequence[Query]) -> list[torch.Tensor]:
        if len(queries) > 2:
            refused.append(len(queries))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, queries)

    monkeypatch.setattr(BoundPrompts, "__call__", limited)
    monkeypatch.setattr(LladaV, "_holds", lambda self, params: lambda sizes: True)
    assert ids(model.generate(requests(), PARAMS, batch_size=None)) == alone
    assert refused == [7, 4]
    assert max(sizes) == 2


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        MemoryError(),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


def test_too_large_to_encode_alone(model: LladaV, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: LladavModel, prompts: Sequence[Prompt]) -> list[list[torch.Tensor]]:
        raise MemoryError

    monkeypatch.setattr(LladavModel, "encode_visuals", never)
    answers = model.generate(requests(3), PARAMS)
    assert all("out of memory" in (answer.error or "") for answer in answers)


def test_what_is_too_long_or_wrongly_marked_fails_alone(model: LladaV) -> None:
    good = ids(model.generate(requests(4), PARAMS, batch_size=1))
    mixed = [*requests(2), Request("digit " * 600), Request("<image> digit"), *requests(4)[2:]]
    answers = model.generate(mixed, PARAMS, batch_size=2)
    assert "the model was trained for" in (answers[2].error or "")
    assert "placeholders" in (answers[3].error or "")
    assert ids([*answers[:2], *answers[4:]]) == good


def test_prompt_answer_and_suffix_may_take_all_positions_and_no_more(model: LladaV) -> None:
    request = Request("digit " * 80)
    prompt = model.preparer.prepare(request, PARAMS).prompt
    assert prompt is not None
    rest, suffix = model.config.max_length - len(prompt.token_ids), " right"
    taken = len(model.tokenizer.encode(suffix))
    for length, whole in ((rest - taken, True), (rest - taken + 1, False)):
        (answer,) = model.generate([request], SamplingParams(length, length, 1, suffix=suffix))
        assert (answer.status == "ok") is whole
    assert f"take {model.config.max_length + 1} positions" in (answer.error or "")


def test_the_time_limit_ends_a_sample_between_steps_and_spares_the_others(
    model: LladaV, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    alone = ids(model.generate(requests(4), PARAMS, batch_size=1))
    sizes.clear()
    real = Batch._bind

    def backdated(self: Batch, joining: list[Job]) -> list[Done]:
        refused = real(self, joining)
        for job, cost in self._running.values():
            if job.index == 1:
                cost.began -= 1e6
        return refused

    monkeypatch.setattr(Batch, "_bind", backdated)
    answers = model.generate(requests(4), PARAMS, batch_size=2, time_limit=1e5)
    assert answers[1].error == past_time(1e5)
    assert ids([answers[0], *answers[2:]]) == [alone[0], *alone[2:]]
    assert sum(sizes) == 3 * 4 + 1  # the late one had a single step


def test_interleaved_settings_keep_to_their_requests(model: LladaV) -> None:
    asked = [(request, list(MODES.values())[index % 3]) for index, request in enumerate(requests())]
    found = dict(answer for answers in model.stream(iter(asked), batch_size=3) for answer in answers)
    assert ids([found[i] for i in range(7)]) == ids([model.generate([one], params)[0] for one, params in asked])


def test_requests_are_drawn_lazily(model: LladaV) -> None:
    drawn: list[int] = []

    def endless() -> Iterator[tuple[Request, SamplingParams]]:
        for index in count():
            drawn.append(index)
            yield Request("List each digit"), PARAMS

    before = set(threading.enumerate())
    stream = model.stream(endless(), batch_size=2)
    assert next(stream)
    assert len(drawn) <= 2 + 2 * 2 + 2
    stream.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive()
