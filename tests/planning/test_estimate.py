"""Time, memory and batch of a workload behave as the stated model of them says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from lladav_eval.engine.base import Item
from lladav_eval.errors import EnvironmentError_, SampleError, SettingError
from lladav_eval.model.checkpoint import empty_model
from lladav_eval.model.config import parse_config
from lladav_eval.model.flops import tile_flops
from lladav_eval.model.memory import USABLE, PromptSize, batch_bytes, weight_bytes
from lladav_eval.model.official import OFFICIAL_FIELDS, OFFICIAL_VOCABULARY
from lladav_eval.planning import hardware
from lladav_eval.planning.assumptions import TEMPLATE_TOKENS, typical
from lladav_eval.planning.estimate import (
    GOOD_ENOUGH,
    OPERATIONS_PER_LAYER,
    SAMPLER_SECONDS,
    Estimate,
    _transformer_parameters,
    estimate,
)
from lladav_eval.planning.hardware import GIB, TABLE, Hardware
from lladav_eval.planning.passes import passes
from lladav_eval.planning.workload import Workload, prompt_size, workload
from lladav_eval.records import DEFAULT_BATCH_SIZE, MOST_AT_ONCE, Request, RunSpec, SamplingParams
from lladav_eval.runs import questions
from lladav_eval.runs.questions import Plan
from lladav_eval.runs.tasks import list_tasks, read_task

CONFIG = parse_config(OFFICIAL_FIELDS)
WORK = Workload("task", 100, (PromptSize(3000, 2900, 5), PromptSize(1600, 1500, 2)), SamplingParams(2, 2, 2), False)


def planned(device: Hardware = TABLE["a100"], work: Workload = WORK, **more: Any) -> Estimate:
    return estimate(work, CONFIG, OFFICIAL_VOCABULARY, device, torch.bfloat16, **more)


def test_a_batch_takes_what_the_formula_says() -> None:
    """One like sample, by hand: the larger of computing and moving, and what starting it costs."""
    work = replace(WORK, rows=1, prompts=(PromptSize(100),), params=SamplingParams(2, 2, 1))
    device = Hardware("d", tflops=100, tflops_float32=50, bandwidth=1000, memory=80, utilisation=0.4, dispatch=1e-5)
    (one,) = passes(CONFIG, OFFICIAL_VOCABULARY, 100, work.params)
    weights = 2 * (32 * (4 * 4096**2 + 3 * 4096 * 12288) + 4096 * OFFICIAL_VOCABULARY)
    computing, moving = one.flops / (100e12 * 0.4), (weights + 2 * one.elements) / 1e12
    found = planned(device, work)
    assert found.seconds == pytest.approx(max(computing, moving) + 32 * OPERATIONS_PER_LAYER * 1e-5 + SAMPLER_SECONDS)
    assert found.flops == found.flops_per_sample == one.flops
    assert computing > moving
    assert found.bound == "compute"
    two = planned(device, replace(work, rows=2), batch_size=2)
    assert two.seconds == pytest.approx(2 * computing + 32 * OPERATIONS_PER_LAYER * 1e-5 + 2 * SAMPLER_SECONDS)
    slow = planned(replace(device, bandwidth=10), work)
    assert slow.bound == "bandwidth"
    assert slow.seconds == pytest.approx(100 * moving + 32 * OPERATIONS_PER_LAYER * 1e-5 + SAMPLER_SECONDS)
    slow = planned(replace(device, bandwidth=10), replace(work, rows=2), batch_size=2)
    moving = (weights + 2 * 2 * one.elements) / 10e9
    assert slow.seconds == pytest.approx(moving + 32 * OPERATIONS_PER_LAYER * 1e-5 + 2 * SAMPLER_SECONDS)


@pytest.mark.parametrize("key_heads", [32, 8])
def test_what_every_pass_reads_are_the_matrices_of_layers_and_head(key_heads: int) -> None:
    config = replace(CONFIG, num_key_value_heads=key_heads)
    model = empty_model(replace(config, vocab_size=1000))
    read = [*model.model.layers.modules(), model.lm_head]
    weights = sum(module.weight.numel() for module in read if isinstance(module, torch.nn.Linear))
    assert _transformer_parameters(config, 1000) == weights


def test_the_tower_adds_its_operations() -> None:
    device, tiles = TABLE["a100"], 5
    plain, seen = (
        planned(work=replace(WORK, rows=10, prompts=(PromptSize(100, 0, count),)), batch_size=4) for count in (0, tiles)
    )
    assert plain.seconds is not None
    assert seen.seconds is not None
    adding = tile_flops(CONFIG) * tiles * 10
    assert seen.flops - plain.flops == pytest.approx(adding)
    rate = device.peak(torch.bfloat16) * device.utilisation
    assert seen.seconds - plain.seconds == pytest.approx(adding / rate)


def test_rows_that_are_assumed_have_not_been_read() -> None:
    assert planned(work=replace(WORK, assumed=True)).rows_read == 0
    assert planned().rows_read == 2


def test_what_is_said_of_prompts_are_means() -> None:
    found = planned()
    assert (found.prompt_tokens, found.prompt_tokens_max) == (2300, 3000)
    assert (found.visual_tokens, found.tiles, found.forward_passes) == (2200, 3.5, 2)


def test_memory_is_filled_and_not_exceeded() -> None:
    device = replace(TABLE["a100"], memory=24)
    found = planned(device, replace(WORK, rows=1000))
    weights = weight_bytes(CONFIG, OFFICIAL_VOCABULARY, torch.bfloat16)
    assert found.weights_bytes == weights
    free = device.memory * GIB - weights

    def needs(batch: int) -> int:
        longest = [WORK.prompts[0]] * batch
        return batch_bytes(CONFIG, OFFICIAL_VOCABULARY, longest, WORK.params, torch.bfloat16)

    assert needs(found.batch_limit) <= USABLE * free < needs(found.batch_limit + 1)
    assert planned(device, replace(WORK, rows=1000), batch_size=1000).batch_size == found.batch_limit
    assert found.memory_bytes == weights + needs(found.batch_size)


def test_without_a_number_the_batch_is_the_one_that_a_run_takes() -> None:
    """A diffusion model on CUDA fills the memory up to a limit; else it is a fixed number (``LladaV.stream``)."""
    small = replace(WORK, prompts=(PromptSize(40),), rows=1000)
    cpu = TABLE["cpu"]
    assert planned(work=small).batch_size == MOST_AT_ONCE
    assert planned(work=replace(small, rows=100)).batch_size == 100
    assert planned(replace(TABLE["a100"], memory=24), replace(WORK, rows=1000)).batch_size < MOST_AT_ONCE
    assert planned(cpu, small).batch_size == DEFAULT_BATCH_SIZE
    twin = replace(CONFIG, causal=True)
    asked = (OFFICIAL_VOCABULARY, TABLE["a100"], torch.bfloat16)
    assert estimate(small, twin, *asked).batch_size == DEFAULT_BATCH_SIZE
    for device in (cpu, TABLE["a100"]):
        assert planned(device, small, batch_size=300).batch_size == 300
        assert planned(device, small, batch_size=1).batch_size == 1


def test_memory_is_that_of_the_device() -> None:
    """The sampler widens fewer logits at a time on a CPU, and layers take smaller portions."""
    work = replace(WORK, rows=8, params=SamplingParams(32, 32, 32))
    for name, kind in (("cpu", "cpu"), ("a100", "cuda")):
        found = planned(TABLE[name], work)
        batch = [WORK.prompts[0]] * 8
        needed = batch_bytes(CONFIG, OFFICIAL_VOCABULARY, batch, work.params, torch.bfloat16, kind)
        assert found.memory_bytes == found.weights_bytes + needed
    tight = replace(TABLE["cpu"], memory=(planned(TABLE["cpu"], work).weights_bytes + needed) / GIB)
    assert planned(tight, work, batch_size=8).batch_limit > planned(replace(tight, device="cuda"), work).batch_limit


def test_the_best_batch_is_the_smallest_of_the_fastest() -> None:
    work = replace(WORK, prompts=(PromptSize(40),), params=SamplingParams(32, 32, 32), rows=256)
    chosen = planned(work=work).best_batch_size
    best = planned(work=work, batch_size=chosen)
    assert best.seconds is not None
    others = [planned(work=work, batch_size=size) for size in (1, 2, 4, 8, 16, 32, 64, 128)]
    fastest = min(other.seconds for other in others if other.seconds is not None)
    assert best.seconds <= GOOD_ENOUGH * fastest
    smaller = [other for other in others if other.batch_size < best.batch_size]
    assert smaller
    assert all(other.seconds is not None and other.seconds > GOOD_ENOUGH * fastest for other in smaller)


def test_all_rows_at_once_are_fastest_where_a_pass_takes_the_same_time_for_any_number() -> None:
    device = replace(TABLE["a100"], tflops=1e6, bandwidth=1e3, memory=200.0)
    assert planned(device, replace(WORK, prompts=(PromptSize(40),), rows=100)).best_batch_size == 100


def test_what_does_not_fit_is_said() -> None:
    found = planned(TABLE["rtx3090"])
    assert found.batch_size > 0
    wide = estimate(WORK, CONFIG, OFFICIAL_VOCABULARY, TABLE["rtx3090"], torch.float32)
    assert (wide.batch_size, wide.best_batch_size, wide.batch_limit) == (0, 0, 0)
    assert (wide.seconds, wide.bound) == (None, None)
    one = batch_bytes(CONFIG, OFFICIAL_VOCABULARY, WORK.prompts[:1], WORK.params, torch.float32)
    assert wide.memory_bytes == wide.weights_bytes + one > TABLE["rtx3090"].memory * GIB


def test_faster_hardware_is_faster_and_caches_help() -> None:
    long = replace(WORK, params=SamplingParams(96, 96, 48))
    times = [planned(TABLE[name], long).seconds for name in ("h100", "a100", "a40")]
    assert None not in times
    assert times == sorted(times)  # type: ignore[type-var]
    cached = planned(work=replace(long, params=SamplingParams(96, 96, 48, cache="prefix")))
    exact = planned(work=long)
    assert cached.flops < exact.flops / 10
    assert cached.approximate
    assert not exact.approximate


def test_guidance_takes_two_passes_a_step_that_move_twice_as_much() -> None:
    plain, guided = SamplingParams(4, 4, 4), SamplingParams(4, 4, 4, cfg_scale=0.5)
    assert planned(work=replace(WORK, params=plain)).forward_passes == 4
    assert planned(work=replace(WORK, params=guided)).forward_passes == 8
    for one, two in zip(*(passes(CONFIG, OFFICIAL_VOCABULARY, 100, each) for each in (plain, guided)), strict=True):
        assert (two.flops, two.elements) == (2 * one.flops, 2 * one.elements)


def test_first_layers_are_kept_in_float32_and_where_the_hardware_can() -> None:
    work = replace(WORK, params=SamplingParams(4, 4, 4))

    def flops(dtype: torch.dtype, keeps: bool) -> float:
        device = replace(TABLE["a100"], keeps_first_layer=keeps)
        return estimate(work, CONFIG, OFFICIAL_VOCABULARY, device, dtype).flops

    usual = flops(torch.float32, False)
    assert flops(torch.float32, True) < usual
    assert flops(torch.bfloat16, True) == flops(torch.bfloat16, False) == usual


def test_a_threshold_is_called_an_upper_bound() -> None:
    for mode in ({"threshold": 0.9}, {"early_commit": "prophet"}):
        assert planned(work=replace(WORK, params=replace(WORK.params, **mode))).upper_bound
    assert not planned().upper_bound


def test_hardware_by_name_or_by_numbers() -> None:
    assert hardware.choose("h100", None, None, None) is TABLE["h100"]
    own = hardware.choose(None, 10.0, 20.0, 30.0)
    assert (own.tflops, own.tflops_float32, own.bandwidth, own.memory) == (10, 10, 20, 30)
    assert hardware.choose("a40", None, None, 12.0).memory == 12
    with pytest.raises(SettingError, match=r"v100.*h100"):
        hardware.choose("v100", None, None, None)
    with pytest.raises(SettingError, match="--gpu"):
        hardware.choose(None, 10.0, None, 30.0)


def test_this_machine_is_measured() -> None:
    found = hardware.measure(torch.device("cpu"), torch.float32)
    assert found.device == "cpu"
    assert 0.001 < found.peak(torch.float32) / 1e12 < 100
    assert 0.1 < found.bandwidth < 10_000
    assert 0 < found.dispatch < 2e-4
    assert found.memory > 0.1


def test_what_is_measured_is_what_was_done_by_the_time_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product of two matrices, a copy (which reads and writes), a thousand small operations."""
    sizes: list[int] = []

    def seconds(work: Any, wait: Any) -> float:
        done = work()
        sizes.append(len(done))
        return 2.0

    monkeypatch.setattr(hardware, "_fastest", seconds)
    found = hardware.measure(torch.device("cpu"), torch.float32)
    side, copied, small = sizes
    assert found.peak(torch.float32) == found.peak(torch.bfloat16) == pytest.approx(2 * side**3 / 2)
    assert found.bandwidth == pytest.approx(2 * copied / 2 / 1e9)
    assert found.dispatch == 2 / small


BENCHMARKS = [name for name, entry in sorted(list_tasks().items()) if entry.kind == "task" and "pocket" not in name]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_an_assumption_of_its_real_size(name: str) -> None:
    metadata = read_task(name)["metadata"]
    kind = typical(name, metadata["family"])
    sizes = [int(text.replace(",", "")) for text in re.findall(r"\d[\d,]{2,}", metadata["description"])]
    assert not sizes or kind.rows in sizes
    assert kind.text > 0
    assert kind.frames or kind.images > 1 or min(kind.size) > 0


def test_rows_that_are_not_here_are_assumed_and_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("LLADAV_EVAL_DATA", str(tmp_path))
    found = workload(RunSpec(tasks=("lladav_mmmu",), model="m", limit=10), "lladav_mmmu", CONFIG, None, 5)
    assert found.assumed
    assert found.rows == 10
    assert found.note is not None
    assert "900 rows" in found.note
    assert found.note.endswith(f"has not been fetched to {tmp_path}")
    (prompt,) = found.prompts
    assert prompt.tiles > 1
    kind = typical("lladav_mmmu", "mmmu")
    assert prompt.positions == prompt.visual + TEMPLATE_TOKENS + kind.text
    with pytest.raises(SettingError):
        workload(RunSpec(tasks=("lladav_mmmu",), model="m", gen=(("steps", "0"),)), "lladav_mmmu", CONFIG, None, 5)


def test_without_a_tokenizer_texts_are_counted_by_their_length() -> None:
    size = prompt_size(Request("x" * 400), CONFIG, None, SamplingParams(2, 2, 2, suffix="y" * 8))
    assert size == PromptSize(TEMPLATE_TOKENS + 100 + 2)


@pytest.mark.parametrize(
    ("task", "rows", "tiles", "visual", "said"),
    [
        ("lladav_muirbench", 2600, 4, 4 * 27**2, "each with 4 images"),
        ("lladav_videomme", 2700, 32, 32 * 14 * 15, "each with a video of 32 frames"),
        ("lladav_seedbench_video", 3757, 32, 32 * 14 * 15, "each with a video of 32 frames"),
    ],
)
def test_assumed_media_take_what_such_media_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, task: str, rows: int, tiles: int, visual: int, said: str
) -> None:
    monkeypatch.setenv("LLADAV_EVAL_DATA", str(tmp_path))
    found = workload(RunSpec(tasks=(task,), model="m"), task, CONFIG, None, 5)
    (prompt,) = found.prompts
    assert (found.rows, prompt.tiles, prompt.visual) == (rows, tiles, visual)
    assert found.note is not None
    assert said in found.note


def test_nothing_is_assumed_about_a_users_own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise EnvironmentError_("no rows here")

    monkeypatch.setattr("lladav_eval.planning.workload.load_tasks", missing)
    with pytest.raises(EnvironmentError_, match="no rows"):
        workload(RunSpec(tasks=("lladav_pocket_yesno",), model="m"), "lladav_pocket_yesno", CONFIG, None, 5)


@pytest.mark.parametrize(("sampled", "read"), [(3, 3), (100, 7)])
def test_no_more_rows_are_read_than_asked_for_and_there(sampled: int, read: int) -> None:
    spec = RunSpec(tasks=("lladav_pocket_yesno",), model="m", limit=7)
    found = workload(spec, spec.tasks[0], CONFIG, None, sampled)
    assert (found.rows, len(found.prompts), found.note) == (7, read, None)


def test_rows_that_cant_be_asked_cost_nothing_and_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    torn: set[int] = {1}

    def build(plan: Plan, row: int, fingerprint: str) -> Item:
        item = questions.build(plan, row, fingerprint)
        return replace(item, question=None, reason="torn") if row in torn else item

    monkeypatch.setattr("lladav_eval.planning.workload.build", build)
    spec = RunSpec(tasks=("lladav_pocket_yesno",), model="m", limit=4)
    found = workload(spec, spec.tasks[0], CONFIG, None, 4)
    assert (found.rows, len(found.prompts), found.assumed) == (3, 3, False)
    assert found.note == "1 of 4 rows can't be asked and cost nothing (row 1: torn)"
    torn.update(range(4))
    with pytest.raises(SampleError, match="no row could be read, the first because of row 0: torn"):
        workload(spec, spec.tasks[0], CONFIG, None, 4)


@pytest.mark.parametrize("name", ["hf:org/name", "openai:m@http://h/v1", "lmms:dummy", "replay:x.jsonl"])
def test_models_that_are_no_checkpoints_of_ours_are_refused(name: str) -> None:
    from lladav_eval.errors import UsageError
    from lladav_eval.planning.models import find_sizes

    with pytest.raises(UsageError, match="only LLaDA-V checkpoints can be planned"):
        find_sizes(name)
