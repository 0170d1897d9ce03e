"""Parity with generations recorded from the authors' code, step by step, through the real model."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_sampler import plain_sample
from recorded import recorded
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from lladav_eval.model.bound import BoundPrompts, expand_placeholders
from lladav_eval.model.config import read_config
from lladav_eval.model.lladav import LladavModel
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Query, SamplingParams
from lladav_eval.sampling.loop import Sampled, SamplingTokens, sample
from lladav_eval.sampling.noise import NoiseSource, SeededNoise

VOCABULARY = 126349
"""Rows of embeddings and head the authors keep: the length of the tokenizer."""
MASK_ID = 126336
FORBIDDEN_IDS = (126081, 126080, 126346, 126347)
CONFIDENCE_TOLERANCE = 1e-4
FAIR_MARGIN = 1e-4
"""Kernels differ by about 3e-5 in the logits: a case whose recorded margins are smaller proves nothing."""
SHIPPED_SETTINGS = ("gen_length", "block_length", "steps", "temperature", "cfg_scale", "remasking")
FURTHER = Path(__file__).parents[1] / "golden" / "generation_further.json"
"""Random settings, answered by the authors' code on the same weights and prompts: stop strings, suffix, guidance, noise
and random remasking in any company."""
CASES: dict[str, dict[str, Any]] = {case["case"]: case for case in recorded("generation.json")}


class GlobalGenerator:
    """Draws what the authors' code drew from torch's global generator: for the whole sequence, token noise first."""

    def __init__(self, seed: int, length: int) -> None:
        self.length = length
        self.generator = torch.Generator().manual_seed(seed)

    def token_uniforms(self, positions: Tensor, vocabulary: int) -> Tensor:
        everywhere = torch.rand(1, self.length, vocabulary, dtype=torch.float64, generator=self.generator)
        return everywhere[0, positions]

    def position_uniforms(self, positions: Tensor) -> Tensor:
        return torch.rand(1, self.length, generator=self.generator)[0, positions]


@dataclasses.dataclass
class Golden:
    model: LladavModel
    cases: dict[str, dict[str, Any]]
    prompt_ids: dict[str, Tensor]
    """Expanded: one placeholder per visual token."""
    visuals: dict[str, Tensor]
    tokenize: Any

    def params(self, case: dict[str, Any]) -> SamplingParams:
        settings = {key: value for key, value in case["kwargs"].items() if key in SHIPPED_SETTINGS}
        return SamplingParams(**settings, cache=_cache_of(case))

    def tokens(self, case: dict[str, Any]) -> SamplingTokens:
        stops = tuple(tuple(self.tokenize(text)) for text in case["kwargs"].get("stopping_criteria", ()))
        suffix = tuple(self.tokenize(case["kwargs"].get("generation_suffix", "")))
        return SamplingTokens(MASK_ID, FORBIDDEN_IDS, stops, suffix)

    def noise(self, case: dict[str, Any]) -> NoiseSource:
        if case.get("seed") is None:
            return SeededNoise(0)
        suffix = self.tokens(case).suffix_ids
        length = len(self.prompt_ids[case["prompt"]]) + case["kwargs"]["gen_length"] + len(suffix)
        return GlobalGenerator(case["seed"], length)

    def run(self, cases: Sequence[dict[str, Any]]) -> list[Sampled]:
        prompts = [self.prompt_ids[case["prompt"]] for case in cases]
        visuals = [self.visuals[case["prompt"]] for case in cases]
        bound = BoundPrompts(self.model, prompts, visuals)
        noise = [self.noise(case) for case in cases]
        tokens = [self.tokens(case) for case in cases]
        return sample(bound, prompts, self.params(cases[0]), tokens, noise, record_trace=True)


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> Golden:
    checkpoint = golden_dir / "tiny-lladav-76"
    config = dataclasses.replace(read_config(checkpoint), vocab_size=VOCABULARY)
    weights = load_file(checkpoint / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights[name][:VOCABULARY].clone()
    model = LladavModel(config)
    model.load_state_dict(weights)
    prompt_ids, visuals = {}, {}
    with safe_open(golden_dir / "generation_prompts.safetensors", "pt") as tensors:
        for name, prompt in recorded("generation_prompts.json").items():
            embeddings = tensors.get_tensor(f"inputs_embeds/{name}")[0]
            prompt_ids[name] = _expanded(prompt["input_ids"], len(embeddings))
            visuals[name] = embeddings[prompt_ids[name] == IMAGE_PLACEHOLDER_ID]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    return Golden(
        model.eval(),
        CASES,
        prompt_ids,
        visuals,
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    )


def _cache_of(case: dict[str, Any]) -> str | None:
    """dLLM-Cache as a case had it: prompt interval, response interval, transfer ratio."""
    cache = case.get("cache")
    if cache is None:
        return None
    names = ("prompt_interval_steps", "gen_interval_steps", "transfer_ratio")
    return "dllm:" + ",".join(map(str, cache if isinstance(cache, list) else (cache[name] for name in names)))


def _expanded(token_ids: list[int], length: int) -> Tensor:
    """Placeholders in place of all visual tokens; how many belong to each of several images doesn't matter here."""
    media = token_ids.count(IMAGE_PLACEHOLDER_ID)
    if not media:
        return torch.tensor(token_ids)
    extra = length - len(token_ids) + media
    return expand_placeholders(token_ids, [extra // media + (index < extra % media) for index in range(media)])


def _skip_if_unfair(case: dict[str, Any]) -> None:
    margins = (case["min_margin_top12_selected"], case["min_conf_gap_logodds"])
    margin = min((margin for margin in margins if margin is not None), default=torch.inf)
    if margin < FAIR_MARGIN:
        reason = f"{case['case']}: the smallest recorded margin {margin:.1e} is within the noise between kernels"
        warnings.warn(reason, stacklevel=2)
        pytest.skip(reason)


def test_recorded_embeddings_are_what_the_ids_say(golden: Golden, golden_dir: Path) -> None:
    """So that feeding ids and recorded visuals is feeding the recorded embeddings."""
    with safe_open(golden_dir / "generation_prompts.safetensors", "pt") as tensors:
        for name, ids in golden.prompt_ids.items():
            recorded, is_text = tensors.get_tensor(f"inputs_embeds/{name}")[0], ids >= 0
            assert torch.equal(golden.model.model.embed_tokens(ids[is_text]), recorded[is_text]), name


@pytest.mark.parametrize("name", CASES)
def test_equals_the_recording(golden: Golden, name: str) -> None:
    case = golden.cases[name]
    _skip_if_unfair(case)
    (ours,) = golden.run([case])
    assert_recorded(ours, case, golden.params(case))


def assert_recorded(ours: Sampled, case: dict[str, Any], params: SamplingParams) -> None:
    """Positions, tokens, confidences, stop state and answer of every step that has something to fill."""
    steps = [step for step in case["steps"] if step["k"]]
    assert ours.error is None
    assert ours.trace is not None
    assert len(ours.trace) == len(steps)
    answer = [MASK_ID] * params.gen_length
    for step, theirs in zip(ours.trace, steps, strict=True):
        assert (step.block, step.step) == (theirs["block"], theirs["block"] * params.steps_per_block + theirs["i"])
        filled = _really_filled(theirs, answer)
        assert list(step.positions) == [position for position, _, _ in filled], step
        assert list(step.token_ids) == [token for _, token, _ in filled], step
        wanted = [-torch.inf if confidence is None else confidence for _, _, confidence in filled]
        assert list(step.confidences) == pytest.approx(wanted, abs=CONFIDENCE_TOLERANCE), step
        for position, token in zip(step.positions, step.token_ids, strict=True):
            if position >= 0:
                answer[position] = token
        assert answer == theirs["x_gen"][: params.gen_length]  # the suffix follows
    assert list(ours.token_ids) == case["output_ids"]
    passes = case["n_forwards"] - len(case["steps"]) + len(steps)
    assert ours.forward_passes == passes * (2 if params.cfg_scale else 1)
    suffix = len(case["steps"][-1]["x_gen"]) - params.gen_length
    stopped = len(case["output_ids"]) - suffix < params.gen_length
    assert ours.stop_reason == ("stop" if stopped else "length")


def _really_filled(step: dict[str, Any], answer: list[int]) -> list[tuple[int, int, float | None]]:
    """The recording also lists positions at -inf that top-k took although they were filled: nothing changed there."""
    rows = zip(step["pos_rel"], step["tokens"], step["conf"], strict=True)
    return [
        (position, token, confidence)
        for position, token, confidence in rows
        if confidence is not None or (position >= 0 and answer[position] == MASK_ID)
    ]


def test_further_settings(golden: Golden) -> None:
    cases = json.loads(FURTHER.read_text(encoding="utf-8"))
    assert len(cases) == 56
    wrong = []
    for number, case in enumerate(cases):
        (ours,) = golden.run([case])
        passes = case["n_forwards"] * (2 if golden.params(case).cfg_scale else 1)
        if (list(ours.token_ids), ours.forward_passes) != (case["output_ids"], passes):
            wrong.append(number)
    assert wrong == []


def test_batches_of_different_prompts_equal_the_recordings(golden: Golden) -> None:
    """Same settings, different prompts, visuals, lengths and stops: one batch, each as recorded alone."""
    for names in (
        ["stopfire_semiar_eot_block0", "single_32_8_32", "stop_nl_eot_video_32_8_32", "stopfire_semiar_eot_block1"],
        ["stopfire_t_3p4_64_nl_eot", "stop_nl_eot_64_64_32", "stopfire_t_hello_64_eot_nl"],
        ["single_16_16_16", "text_16_16_16"],
    ):
        cases = [golden.cases[name] for name in names]
        for case, ours in zip(cases, golden.run(cases), strict=True):
            assert_recorded(ours, case, golden.params(case))


@pytest.mark.parametrize("name", ["stopfire_t_3p4_64_nl_eot", "maskword_8_8_8", "cfg05_16_8_8"])
def test_the_plain_sampler_equals_the_recording(golden: Golden, name: str) -> None:
    """The second truth is true itself."""
    case, prompt = golden.cases[name], golden.prompt_ids[golden.cases[name]["prompt"]]
    bound = BoundPrompts(golden.model, [prompt], [golden.visuals[case["prompt"]]])

    def full_logits(ids: Tensor) -> Tensor:
        return bound([Query(0, ids, torch.arange(len(ids)))])[0]

    tokens = golden.tokens(case)
    with torch.no_grad():
        plain = plain_sample(
            full_logits, prompt.tolist(), golden.params(case), MASK_ID, FORBIDDEN_IDS, tokens.stop_sequences
        )
    assert plain.token_ids == case["output_ids"]
    (ours,) = golden.run([case])
    assert [step.positions for step in plain.steps] == [list(step.positions) for step in ours.trace or ()]
