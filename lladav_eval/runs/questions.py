"""Rows of a task -> questions for a model; a row whose media can't be read becomes an item with the reason."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lladav_eval.approximate import NAMES
from lladav_eval.engine.base import Item
from lladav_eval.errors import MediaError, SampleError, SettingError, TaskError, one_line
from lladav_eval.records import Question, Request, RunSpec
from lladav_eval.runs.docs import Docs
from lladav_eval.runs.keys import sample_key
from lladav_eval.scoring.aggregate import Scale
from lladav_eval.settings import GenerationSettings, request_from, shown, translate

if TYPE_CHECKING:
    from lmms_eval.api.task import ConfigurableTask


@dataclass(frozen=True)
class Plan:
    """One task of a run, checked and ready."""

    name: str
    task: ConfigurableTask
    settings: GenerationSettings
    count: int
    """Rows asked for: the first ``count`` of the split."""
    scale: Scale
    scale_stated: bool
    """Whether the task says so, or its figures are known; else those beyond 1 are shown as they are."""
    version: str
    """``metadata.version`` of the task; empty if it names none."""
    changed: dict[str, Any]
    """Settings that whoever runs it has changed, with the task's own values; seed and approximate modes, which are told
    elsewhere, left out."""

    def facts(self) -> dict[str, Any]:
        """What the manifest says about the task."""
        config = self.task.config
        return {
            "version": self.version,
            "dataset_path": str(config.dataset_path),
            "dataset_name": config.dataset_name,
            "split": config.test_split or config.validation_split,
            "dataset_fingerprint": getattr(self.task.eval_docs, "_fingerprint", None),
            "data_revision": data_revision(self.task),
            "rows": len(self.task.eval_docs),
            "n": self.count,
            "scale": self.scale,
            "settings": plain(self.settings),
        }


def data_revision(task: ConfigurableTask) -> str | None:
    """Which data the rows are: the data room's revision, or a digest of the files that a task carries beside its YAML.

    None where only ``datasets`` knows them (a user's own task on the hub); its fingerprint changes with file times.
    """
    if isinstance(task.eval_docs, Docs):
        return task.eval_docs.table.revision
    named = (task.config.dataset_kwargs or {}).get("data_files")
    given = list(named.values()) if isinstance(named, dict) else [named]
    files = sorted(file for file in given if isinstance(file, str) and Path(file).is_file())
    if not files or len(files) < len(given):
        return None
    digest = hashlib.sha256()
    for file in files:
        digest.update(Path(file).read_bytes())
    return f"local:{digest.hexdigest()[:16]}"


def plan_task(name: str, task: ConfigurableTask, spec: RunSpec) -> Plan:
    """Check a loaded task against what was asked. Raises SettingError or TaskError."""
    config = task.config
    if config.output_type != "generate_until":
        raise TaskError(f"the task {name} has output_type {config.output_type}: only generate_until can be run")
    if config.num_fewshot:
        raise TaskError(f"the task {name} asks for {config.num_fewshot} examples: only num_fewshot 0 can be run")
    if config.repeats != 1:
        raise TaskError(f"the task {name} asks for {config.repeats} repeats: only repeats 1 can be run")
    rows = len(task.eval_docs)
    count = rows if spec.limit is None else min(spec.limit, rows)
    if count == 0:
        raise TaskError(f"the task {name} has no rows: the result would be empty")
    metadata = metadata_of(task)
    scale = metadata.get("scale", "fraction")
    if scale not in get_args(Scale):
        raise TaskError(f"the task {name} has metadata scale {scale!r}: choose {' or '.join(get_args(Scale))}")
    overrides: list[tuple[str, Any]] = list(spec.gen)
    if spec.seed is not None:
        overrides.append(("seed", spec.seed))
    try:
        settings = translate(config.generation_kwargs, overrides, where=f"task {name}")
    except SettingError as error:
        raise SettingError(f"{error} (task {name})" if name not in str(error) else str(error)) from None
    changed = _changed(config.generation_kwargs, settings) if overrides else {}
    stated = "scale" in metadata or "family" in metadata
    return Plan(name, task, settings, count, scale, stated, str(metadata.get("version", "")), changed)


def _changed(kwargs: dict[str, Any] | None, used: GenerationSettings) -> dict[str, Any]:
    try:
        own = translate(kwargs)
    except SettingError:  # it needs the overrides to be complete
        return {}
    told = {"seed", *NAMES}
    after = plain(used)
    return {name: value for name, value in plain(own).items() if name not in told and after[name] != value}


def plain(settings: GenerationSettings) -> dict[str, Any]:
    """Every setting by its name."""
    return {**asdict(settings.params), "mode": settings.mode, "num_frames": settings.num_frames}


def metadata_of(task: ConfigurableTask) -> dict[str, Any]:
    """The YAML's ``metadata``: a mapping, or a list of mappings as many lmms-eval tasks have it."""
    found = task.config.metadata
    merged: dict[str, Any] = {}
    for part in found if isinstance(found, list) else [found]:
        merged.update(part if isinstance(part, dict) else {})
    return merged


def build(plan: Plan, doc_id: int, fingerprint: str) -> Item:
    """Read one row, media included."""
    text = ""
    try:
        doc, unreadable = _read_row(plan, doc_id)
        text = prompt_text(plan, doc)
        if unreadable:
            raise MediaError(f"an image of the row can't be read: {unreadable}")
        request = _request(plan, doc, text)
        question = Question(plan.name, doc_id, request, plan.settings.params)
        key, media = sample_key(fingerprint, request, plan.settings.params)
        return Item(plan.name, doc_id, key, text, question, media=media)
    except SampleError as error:
        reason = " ".join(str(error).split())
        key, _ = sample_key(fingerprint, None, plan.settings.params, text)
        return Item(plan.name, doc_id, key, text, None, reason)
    except TaskError as error:
        docs = plan.task.eval_docs
        place = docs.where(doc_id) if isinstance(docs, Docs) else f"row {doc_id}"
        raise TaskError(f"{plan.name}, {place}: {error}") from None


def _read_row(plan: Plan, doc_id: int) -> tuple[Any, str | None]:
    """The row with its images; or without them, and the reason why they can't be decoded."""
    try:
        return plan.task.eval_docs[doc_id], None
    except TaskError:
        raise
    except Exception as error:  # decoders raise many kinds
        return plan.task.eval_docs_no_media[doc_id], one_line(error)


def prompt_text(plan: Plan, doc: Any) -> str:
    """The question of a row, as lmms-eval itself would build it. Raises SampleError."""
    try:
        text = plan.task.fewshot_context(doc=doc, num_fewshot=0)
    except TaskError:  # the table itself is wrong: that ends the run
        raise
    except (Exception, SystemExit) as error:  # functions of the task
        raise SampleError(f"doc_to_text failed: {one_line(error)}") from error
    if not isinstance(text, str):
        raise SampleError(f"doc_to_text gave {type(text).__name__} instead of text")
    return text


def _request(plan: Plan, doc: Any, text: str) -> Request:
    return request_from(text, shown(plan.task.doc_to_visual, doc), plan.settings)
