"""What a task asks of a model, in positions: from its rows where they are at hand, else from a stated assumption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lladav_eval.errors import EnvironmentError_, SampleError, UsageError, one_line
from lladav_eval.model import counts
from lladav_eval.model.config import ModelConfig
from lladav_eval.model.memory import PromptSize
from lladav_eval.planning.assumptions import CHARACTERS_PER_TOKEN, TEMPLATE_TOKENS, Typical, typical
from lladav_eval.processing.chat import ChatTokenizer
from lladav_eval.processing.prompt import media_of_placeholders, prompt_tokens
from lladav_eval.records import IMAGE_PLACEHOLDER_ID, Request, RunSpec, SamplingParams
from lladav_eval.runs.questions import build, plan_task
from lladav_eval.runs.tasks import load_tasks, read_task
from lladav_eval.settings import translate


@dataclass(frozen=True)
class Workload:
    """One task, ready to be estimated."""

    task: str
    rows: int
    """Samples that would be asked."""
    prompts: tuple[PromptSize, ...]
    """Of the rows that were read, or one of the assumed kind."""
    params: SamplingParams
    assumed: bool
    """True where no row was read."""
    note: str | None = None
    """What was assumed and why, or which rows couldn't be read."""


def workload(spec: RunSpec, task: str, config: ModelConfig, tokenizer: ChatTokenizer | None, sampled: int) -> Workload:
    """Read ``sampled`` rows of a task, spread over its split, without downloading anything.

    Where the rows of a benchmark, or all their media, aren't on this machine, its typical sample takes their place.

    Raises:
        UsageError: the task, its settings or its rows are wrong.
        EnvironmentError_: rows that aren't here, of a task nothing is assumed about.
    """
    content = read_task(task, spec.include_path)
    metadata = content.get("metadata")
    family = metadata.get("family") if isinstance(metadata, dict) else None
    try:
        return _from_rows(spec, task, config, tokenizer, sampled)
    except (EnvironmentError_, SampleError) as error:
        if family is None:
            raise
        return _assumed(spec, task, content, typical(task, str(family)), config, one_line(error).split(": ")[0])


def _from_rows(
    spec: RunSpec, task: str, config: ModelConfig, tokenizer: ChatTokenizer | None, sampled: int
) -> Workload:
    data = None if spec.data is None else Path(spec.data)
    loaded = load_tasks([task], spec.include_path, data_dir=data, offline=True)[task]
    plan = plan_task(task, loaded, spec)
    params, read = plan.settings.params, min(sampled, plan.count)
    prompts, reasons = [], []
    for index in range(read):
        item = build(plan, index * plan.count // read, "plan")
        if item.question is None:
            reasons.append(f"row {item.doc_id}: {item.reason}")
        else:
            prompts.append(prompt_size(item.question.request, config, tokenizer, params))
    if not prompts:
        raise SampleError(f"no row could be read, the first because of {reasons[0]}")
    note = f"{len(reasons)} of {read} rows can't be asked and cost nothing ({reasons[0]})" if reasons else None
    return Workload(task, plan.count * len(prompts) // read, tuple(prompts), params, False, note)


def prompt_size(
    request: Request, config: ModelConfig, tokenizer: ChatTokenizer | None, params: SamplingParams
) -> PromptSize:
    """Positions of a question; without a tokenizer its text is counted by its length.

    Raises:
        SampleError: where the model couldn't be asked that.
        UsageError: if the model sees no media at all.
    """
    media = _media(request, config)
    if tokenizer is None:
        text = TEMPLATE_TOKENS + len(request.text) // CHARACTERS_PER_TOKEN
        suffix = len(params.suffix) // CHARACTERS_PER_TOKEN
    else:
        ids = prompt_tokens(request, tokenizer, config)[1]
        placeholders = ids.count(IMAGE_PLACEHOLDER_ID)
        media = [media[index] for index in media_of_placeholders(placeholders, len(media))]
        text = len(ids) - placeholders
        suffix = len(tokenizer.encode(params.suffix)) if params.suffix else 0
    tiles, visual = sum(count for count, _ in media), sum(tokens for _, tokens in media)
    return PromptSize(text + visual + suffix, visual, tiles)


def _media(request: Request, config: ModelConfig) -> list[tuple[int, int]]:
    """(tiles, tokens) of each medium."""
    if request.video is not None or request.images:
        _require_tower(config)
    if request.video is not None:
        return [counts.video(config, request.num_frames)]
    if len(request.images) == 1:
        return [counts.tiled_image(config, request.images[0].size)]
    return [counts.padded_image(config) for _ in request.images]


def _require_tower(config: ModelConfig) -> None:
    if config.text_only:
        raise UsageError("the model is a text-only LLaDA and sees no images or videos: plan a task of text alone")


def _assumed(
    spec: RunSpec, task: str, content: Mapping[str, Any], kind: Typical, config: ModelConfig, why: str
) -> Workload:
    overrides = [*spec.gen, *([("seed", spec.seed)] if spec.seed is not None else [])]
    settings = translate(content.get("generation_kwargs"), overrides, where=f"task {task}")
    _require_tower(config)
    if kind.frames:
        tiles, visual = counts.video(config, settings.num_frames)
    elif kind.images == 1:
        tiles, visual = counts.tiled_image(config, kind.size)
    else:
        tiles, visual = (kind.images * count for count in counts.padded_image(config))
    text = TEMPLATE_TOKENS + kind.text
    prompt = PromptSize(text + visual, visual, tiles)
    rows = kind.rows if spec.limit is None else min(spec.limit, kind.rows)
    note = f"assumed are {kind.says(settings.num_frames)}: {why}"
    return Workload(task, rows, (prompt,), settings.params, True, note)
