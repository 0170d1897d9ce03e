"""``lmms:NAME[,key=value...]``: any model that lmms-eval registers, through our run loop.

lmms-eval hands a model ``Instance`` objects that point into task data by name, split and row. Here a batch's questions
are that data: a task dictionary of one split, whose rows are our own ``Question`` records.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lladav_eval.adapters.parts import content_of, media_of
from lladav_eval.batching import answer_in_halves, peak_memory, watch_memory
from lladav_eval.errors import CheckpointError, EnvironmentError_, SampleError, SettingError, UsageError, one_line
from lladav_eval.model.checkpoint import HUB_NAME
from lladav_eval.records import Generation, Question, Request, SamplingParams, VideoClip, answer_text

_SPLIT = "test"
_SECRET = ("key", "token", "secret", "password")
_BOOKKEEPING = {".git", ".cache", "__pycache__"}
"""Folders that hold times and places beside a model's files, and change without them."""


class RegisteredAnswerer:
    """A model of lmms-eval, of its simple or of its chat kind. Make one with ``load_registered``."""

    def __init__(self, model: Any, model_id: str, arguments: dict[str, Any], batch_size: int) -> None:
        self.model = model
        self.model_id = model_id
        self.arguments = arguments
        self.batch_size = batch_size
        self.is_simple = bool(getattr(model, "is_simple", True))
        self.is_ours = type(model).__module__.startswith("lladav_eval.")

    @property
    def name(self) -> str:
        """How the model is called in tables."""
        return f"lmms:{self.model_id}"

    @property
    def device(self) -> torch.device:
        """Where the model says it is; the CPU where it doesn't say."""
        device = getattr(self.model, "device", None) or getattr(self.model, "_device", None)
        return torch.device(device) if isinstance(device, str | torch.device) else torch.device("cpu")

    @cached_property
    def fingerprint(self) -> str:
        """Name, arguments, what files and hub names among them hold, and the versions of lmms-eval and transformers."""
        facts = {name: str(value) for name, value in sorted(self.arguments.items())}
        for name, value in self.arguments.items():
            if isinstance(value, str) and os.path.exists(value):
                facts[f"{name} holds"] = _files_hash(value)
        facts |= {f"{name} is": commit for name, commit in _cached_commits(_defaults(self.model) | self.arguments)}
        facts["transformers"] = version("transformers")
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        kind = "simple" if self.is_simple else "chat"
        return f"lmms/{version('lmms_eval')}/{kind}/{self.model_id}/{digest}"

    def description(self) -> dict[str, Any]:
        """For the run's manifest."""
        return {
            "name": self.name,
            "kind": "lmms-eval",
            "interface": "simple" if self.is_simple else "chat",
            "class": f"{type(self.model).__module__}.{type(self.model).__name__}",
            "arguments": {name: str(value) for name, value in self.arguments.items()},
            "lmms_eval": version("lmms_eval"),
        }

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        """One Generation per question, in order; questions of one task with equal settings share batches.

        What a model raises for a batch is found by halving it, and fails the one sample, with the model's words.
        """
        for question in questions:
            _check(question.params, self.is_ours)
        groups: dict[tuple[str, SamplingParams], list[int]] = {}
        for index, question in enumerate(questions):
            groups.setdefault((question.task, question.params), []).append(index)
        answers: dict[int, Generation] = {}
        for members in groups.values():
            for start in range(0, len(members), self.batch_size):
                part = members[start : start + self.batch_size]
                generated = answer_in_halves([questions[index] for index in part], self._run, self.device)
                answers.update(zip(part, generated, strict=True))
        return [answers[index] for index in range(len(questions))]

    def _run(self, batch: Sequence[Question]) -> list[Generation]:
        """Let the model answer one batch of one task; it finds every row under its number in the split."""
        from lmms_eval.api.instance import unwrap_generation_output

        self.model.task_dict = {batch[0].task: {_SPLIT: {question.doc_id: question for question in batch}}}
        prepared = time.perf_counter()
        shown = [self._visuals(question.request) for question in batch]
        instances = [self._instance(question, visuals) for question, visuals in zip(batch, shown, strict=True)]
        watch_memory(self.device)
        started = time.perf_counter()
        try:
            outputs = self.model.generate_until(instances)
        except (MemoryError, torch.OutOfMemoryError, KeyboardInterrupt):
            raise
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise
            raise SampleError(f"{self.name} failed: {one_line(error)}") from error
        except (Exception, SystemExit) as error:  # models of many authors raise anything, some exit
            raise SampleError(f"{self.name} failed: {type(error).__name__}: {one_line(error)}") from error
        seconds = (time.perf_counter() - started) / len(batch)
        if len(outputs) != len(batch):
            raise SampleError(f"{self.name} gave {len(outputs)} answers to {len(batch)} questions")
        answers = []
        for output in outputs:
            text, counts = unwrap_generation_output(output)
            answers.append(
                Generation(
                    text=answer_text(str(text)),
                    stop_reason="stop",
                    seconds=seconds,
                    prompt_tokens=counts.input_tokens if counts else None,
                    output_tokens=counts.output_tokens if counts else None,
                    media_seconds=(started - prepared) / len(batch),
                    peak_memory=peak_memory(self.device),
                )
            )
        return answers

    def _instance(self, question: Question, visuals: list[Any]) -> Any:
        from lmms_eval.api.instance import Instance

        row, task = question.doc_id, question.task
        settings = self._settings(question)
        arguments: tuple[Any, ...]
        if self.is_simple:
            arguments = (question.request.text, settings, lambda _: list(visuals), row, task, _SPLIT)
        else:
            messages = partial(_messages, question.request, visuals)
            arguments = (question.request.text, messages, settings, row, task, _SPLIT)
        metadata = {"task": task, "doc_id": row, "repeats": 1, "split": _SPLIT}
        return Instance(request_type="generate_until", arguments=arguments, idx=0, metadata=metadata)

    def _visuals(self, request: Request) -> list[Any]:
        """What ``doc_to_visual`` of a task would give: images, or the path of a whole video file.

        Parts of a video and folders of frames are given as frames: a path alone can't say them. Our own plugin
        takes every kind of video.
        """
        video = request.video
        if self.is_ours and video is not None:
            return [list(video) if isinstance(video, tuple) else video]
        whole = video.path if isinstance(video, VideoClip) and video.start is None and video.end is None else video
        if isinstance(whole, str | Path) and Path(whole).is_file():
            return [str(whole)]
        return media_of(request, video_path=False)[0]

    def _settings(self, question: Question) -> dict[str, Any]:
        """Generation settings under lmms-eval's names; our own plugin gets all of them under ours."""
        params = question.params
        if self.is_ours:
            names = ("gen_length", "block_length", "steps", "temperature", "cfg_scale", "remasking", "suffix", "seed")
            approximate = ("cache", "threshold", "early_commit")
            settings: dict[str, Any] = {name: getattr(params, name) for name in (*names, *approximate)}
            mode, frames = question.request.mode, question.request.num_frames
            return {**settings, "stop": list(params.stop), "think_mode": mode, "num_frames": frames}
        settings = {
            "max_new_tokens": params.gen_length,
            "temperature": params.temperature,
            "do_sample": params.temperature > 0,
            "num_beams": 1,
        }
        if params.stop:
            settings["until"] = list(params.stop)
        return settings


def load_registered(text: str, device: str | None, *, batch_size: int) -> RegisteredAnswerer:
    """Load what follows ``lmms:``.

    Raises:
        UsageError: if lmms-eval has no such model, or an argument isn't key=value or looks like a key.
        CheckpointError: if the model can't be made: a package it needs is missing, or its weights.
    """
    from lmms_eval.models import MODEL_REGISTRY_V2

    name, *pairs = text.split(",")
    arguments = _arguments(pairs)
    try:
        resolved = MODEL_REGISTRY_V2.resolve(name)
    except ValueError:
        raise UsageError(
            f"lmms:{name}: lmms-eval {version('lmms_eval')} has no such model; "
            "its list: python -c 'from lmms_eval.models import *; print(list_available_models())'"
        ) from None
    given = {"batch_size": batch_size, "device": device}
    extra = {key: value for key, value in given.items() if value is not None and key not in arguments}
    try:
        model = MODEL_REGISTRY_V2.get_model_class(name)(**arguments, **extra)
    except (UsageError, KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # as above
        raise CheckpointError(f"lmms:{name} can't be made: {type(error).__name__}: {one_line(error)}") from error
    return RegisteredAnswerer(model, resolved.model_id, arguments, batch_size)


def _arguments(pairs: Sequence[str]) -> dict[str, Any]:
    from lmms_eval.utils import simple_parse_args_string

    for pair in pairs:
        name, equals, _ = pair.partition("=")
        if not name or not equals:
            raise UsageError(f"lmms: {pair!r} is not key=value; write lmms:NAME,key=value,key=value")
        if name.lower().endswith(_SECRET):  # api_key, apikey, hf_token; not max_new_tokens
            raise UsageError(f"lmms: {name} would end up in the run's files; give it by the environment instead")
    return dict(simple_parse_args_string(",".join(pairs)))


def _defaults(model: Any) -> dict[str, Any]:
    """Texts that the model's class takes where none are given: many name a checkpoint of their own."""
    parameters = inspect.signature(type(model).__init__).parameters
    return {name: parameter.default for name, parameter in parameters.items() if isinstance(parameter.default, str)}


def _files_hash(place: str) -> str:
    """Hex digest of a file, or of every file below a directory, with its name there."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(_files(place)):
        try:
            digest.update(os.fsencode(f"{os.path.relpath(file, place)}\0{os.path.getsize(file)}\0"))
            with open(file, "rb") as content:
                while chunk := content.read(1 << 24):
                    digest.update(chunk)
        except OSError as error:
            raise EnvironmentError_(f"lmms: {file} can't be read ({error.strerror}): allow it, or remove it") from error
    return digest.hexdigest()


def _files(place: str) -> Iterator[str]:
    """Links are followed, but none in a circle."""
    if os.path.isfile(place):
        yield place
    visited = set()
    for folder, inner, files in os.walk(place, followlinks=True):
        visited.add(os.path.realpath(folder))
        inner[:] = sorted(name for name in inner if name not in _BOOKKEEPING)
        inner[:] = [name for name in inner if os.path.realpath(os.path.join(folder, name)) not in visited]
        yield from (path for name in files if os.path.isfile(path := os.path.join(folder, name)))


def _cached_commits(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(argument, commit) of every hub name among them whose branch (``revision``, else main) is in the cache."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    branch = str(arguments.get("revision") or "main")
    for name, value in arguments.items():
        if isinstance(value, str) and HUB_NAME.fullmatch(value):
            ref = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=value, repo_type="model") / "refs" / branch
            if ref.is_file():
                yield name, ref.read_text(encoding="utf-8")


def _check(params: SamplingParams, is_ours: bool) -> None:
    if not is_ours and params.approximate:
        raise SettingError("cache, threshold and early_commit aren't known to lmms-eval's models: leave them out")
    if not is_ours and (params.cfg_scale or params.suffix):
        raise SettingError("cfg_scale and suffix aren't known to lmms-eval's models: leave them out")


def _messages(request: Request, visuals: list[Any], _: Any) -> list[dict[str, Any]]:
    """One user turn in the form of ``doc_to_messages``."""
    if visuals and isinstance(visuals[0], str):
        parts, order = content_of(request, 0, video=True)
    else:
        parts, order = content_of(request, len(visuals), video=False)
    media = iter(order)
    content = []
    for part in parts:
        if part["type"] == "image":
            content.append({"type": "image", "url": visuals[next(media)]})
        elif part["type"] == "video":
            content.append({"type": "video", "url": visuals[0]})
        else:
            content.append(part)
    return [{"role": "user", "content": content}]
