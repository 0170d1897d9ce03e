"""Operations planned from sizes alone equal those counted while a model runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tiny_checkpoint import write_checkpoint
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import lladav_eval
from lladav_eval import Request, SamplingParams
from lladav_eval.model import kernels
from lladav_eval.model.config import parse_config
from lladav_eval.model.first_layer import MIN_PROMPT
from lladav_eval.model.flops import tile_flops
from lladav_eval.model.official import OFFICIAL_FIELDS
from lladav_eval.planning.models import find_sizes
from lladav_eval.planning.passes import passes
from lladav_eval.planning.workload import Workload, prompt_size, workload
from lladav_eval.records import RunSpec
from lladav_eval.runs.questions import build, plan_task
from lladav_eval.runs.tasks import load_tasks

REQUESTS = {
    "text": Request("List each digit"),
    "tiled": Request("Which digit is in the picture?", (Image.new("RGB", (40, 20)),), mode="no_think"),
    "several": Request("Which image shows a digit?", (Image.new("RGB", (9, 9)), Image.new("RGB", (30, 10)))),
    "own placeholders": Request("<image> digit <image>?", (Image.new("RGB", (9, 9)),)),
    "video": Request("Which way does it move?", video=(Image.new("RGB", (16, 16)),) * 3, num_frames=3),
}
SETTINGS = {
    "short": SamplingParams(2, 2, 2),
    "blocks": SamplingParams(16, 8, 8),
    "more steps than positions": SamplingParams(4, 4, 6),
    "uneven": SamplingParams(10, 5, 6),
    "guided": SamplingParams(4, 4, 4, cfg_scale=0.5),
    "suffix": SamplingParams(4, 4, 4, suffix=" digit"),
    "prefix": SamplingParams(16, 8, 8, cache="prefix:3"),
    "dual": SamplingParams(16, 8, 8, cache="dual:3"),
    "dllm": SamplingParams(16, 8, 16, cache="dllm:5,2,0.25"),
    "dllm guided": SamplingParams(8, 4, 8, cfg_scale=1.0, cache="dllm:3,2,0.5"),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("plan"), num_key_value_heads=1)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", REQUESTS)
def test_every_mode_equals_the_run(checkpoint: Path, kind: str, settings: str) -> None:
    model, params = lladav_eval.load(checkpoint, device="cpu"), SETTINGS[settings]
    answer = model.generate([REQUESTS[kind]], params)[0]
    size = prompt_size(REQUESTS[kind], model.config, model.tokenizer, params)
    planned = passes(model.config, len(model.tokenizer), size.positions, params)
    assert answer.prompt_tokens == size.positions - len(model.tokenizer.encode(params.suffix) if params.suffix else ())
    assert answer.stop_reason == "length"
    assert answer.forward_passes == len(planned) * (2 if params.cfg_scale else 1)
    total = tile_flops(model.config) * size.tiles + sum(one.flops for one in planned)
    assert answer.flops == pytest.approx(total, rel=1e-12)


@pytest.mark.skipif(not kernels._onednn(), reason="this processor has no AVX-512: nothing is ever kept")
@pytest.mark.parametrize("settings", ["blocks", "guided", "prefix"])
def test_a_long_prompt_whose_first_layer_is_kept(tmp_path: Path, settings: str) -> None:
    model = lladav_eval.load(write_checkpoint(tmp_path, max_position_embeddings=2048), device="cpu", dtype="float32")
    request, params = Request("digit " * 600), SETTINGS[settings]
    answer = model.generate([request], params)[0]
    size = prompt_size(request, model.config, model.tokenizer, params)
    assert size.positions >= MIN_PROMPT
    planned, usual = (
        sum(one.flops for one in passes(model.config, len(model.tokenizer), size.positions, params, keeps))
        for keeps in (True, False)
    )
    assert answer.flops == pytest.approx(planned, rel=1e-12)
    assert (planned < usual) == (settings == "blocks")


def test_the_vocabulary_is_the_tokenizers_or_else_the_configs(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    fields = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**fields, "vocab_size": 5000}))
    monkeypatch.chdir(tmp_path.parent)
    sizes = find_sizes(f"{tmp_path.name}/copy")  # a directory, though named as a model of the hub
    assert sizes.tokenizer is not None
    assert sizes.vocabulary == len(sizes.tokenizer) < 5000
    (copy / "tokenizer.json").unlink()
    assert (find_sizes(str(copy)).tokenizer, find_sizes(str(copy)).vocabulary) == (None, 5000)


def test_a_counted_pass(checkpoint: Path) -> None:
    """torch's own counter, not ours, on the other side."""
    model, params = lladav_eval.load(checkpoint, device="cpu"), SamplingParams(8, 8, 4)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.generate([REQUESTS["tiled"]], params)
    size = prompt_size(REQUESTS["tiled"], model.config, model.tokenizer, params)
    planned = passes(model.config, len(model.tokenizer), size.positions, params)
    total = tile_flops(model.config) * size.tiles + sum(one.flops for one in planned)
    assert counter.get_total_flops() == pytest.approx(total, rel=1e-9)


def test_the_numbers_that_a_pass_moves() -> None:
    """By operation, each reading its inputs and writing its output: multiples of D and of I for a position."""
    of_size = {
        "norms": 4,
        "projections": 3 + 3,
        "rotation": 4,
        "attention": 4,
        "output": 2,
        "sums": 6,
        "gate, up": 2,
        "down": 1,
    }
    of_inner = {"gate, up": 2, "product": 5, "down": 1}
    config = replace(parse_config(OFFICIAL_FIELDS), num_key_value_heads=8)
    layers, size, keys = config.num_hidden_layers, config.hidden_size, config.hidden_size // 32 * 8
    each = layers * (sum(of_size.values()) * size + sum(of_inner.values()) * config.intermediate_size)
    vocabulary, params = 1000, SamplingParams(4, 4, 2)
    logits = 7 * vocabulary
    first, second = passes(config, vocabulary, 90, params)
    assert (first.elements, second.elements) == (94 * each + 4 * logits, 94 * each + 2 * logits)
    stored = layers * 2 * keys
    first, second = passes(config, vocabulary, 90, replace(params, cache="prefix"))
    assert first.elements == 94 * (each + stored) + 4 * logits
    assert second.elements == 4 * each + 94 * stored + 2 * logits  # the block alone is computed anew
    first, second, *_ = passes(replace(config, causal=True), vocabulary, 90, params)
    assert (first.elements, second.elements) == (90 * (each + stored) + logits, each + 91 * stored + logits)


def test_a_single_layer_keeps_nothing() -> None:
    config = replace(parse_config(OFFICIAL_FIELDS), num_hidden_layers=1)
    params = SamplingParams(4, 4, 2)
    assert passes(config, 1000, MIN_PROMPT, params, keeps=True) == passes(config, 1000, MIN_PROMPT, params)
    two = replace(config, num_hidden_layers=2)
    assert passes(two, 1000, MIN_PROMPT, params, keeps=True) != passes(two, 1000, MIN_PROMPT, params)
    assert passes(two, 1000, MIN_PROMPT - 1, params, keeps=True) == passes(two, 1000, MIN_PROMPT - 1, params)


def test_the_twin(tmp_path: Path) -> None:
    model = lladav_eval.load(write_checkpoint(tmp_path, lladav_eval_causal=True), device="cpu")
    params = SamplingParams(6, 6, 6)
    answer = model.generate([REQUESTS["text"]], params)[0]
    size = prompt_size(REQUESTS["text"], model.config, model.tokenizer, params)
    planned = passes(model.config, len(model.tokenizer), size.positions, params)
    assert answer.forward_passes == len(planned) == 6
    assert answer.flops == pytest.approx(sum(one.flops for one in planned), rel=1e-12)


def test_a_threshold_counts_the_most_it_can_take(checkpoint: Path) -> None:
    model, params = lladav_eval.load(checkpoint, device="cpu"), SamplingParams(8, 8, 2, threshold=1.0)
    answer = model.generate([REQUESTS["text"]], params)[0]
    planned = passes(model.config, len(model.tokenizer), 30, params)
    assert answer.forward_passes <= len(planned) == 8
    assert planned == passes(model.config, len(model.tokenizer), 30, SamplingParams(8, 8, 8))  # one position a step


@pytest.mark.parametrize("task", ["lladav_pocket_yesno", "lladav_pocket_images", "lladav_pocket_video"])
def test_a_pocket_run(task: str) -> None:
    """The embedded model on rows of the embedded suite: planned from rows, counted by the run."""
    spec = RunSpec(tasks=(task,), model="pocket", limit=4)
    model = lladav_eval.load("pocket", device="cpu")
    plan = plan_task(task, load_tasks([task])[task], spec)
    requests = [item.question.request for row in range(4) if (item := build(plan, row, "w")).question is not None]
    answers = model.generate(requests, plan.settings.params)
    work: Workload = workload(spec, task, model.config, model.tokenizer, sampled=4)
    assert (work.rows, work.assumed, work.note) == (4, False, None)
    assert [prompt.positions for prompt in work.prompts] == [answer.prompt_tokens for answer in answers]
    for prompt, answer in zip(work.prompts, answers, strict=True):
        assert answer.forward_passes == work.params.steps, "a stop string cut the answer short: choose another task"
        planned = passes(model.config, len(model.tokenizer), prompt.positions, work.params)
        total = tile_flops(model.config) * prompt.tiles + sum(one.flops for one in planned)
        assert answer.flops == pytest.approx(total, rel=1e-12)
