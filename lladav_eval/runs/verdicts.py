"""From the journal to scores, through the task's own ``process_results``; no model is needed, so runs can be re-scored.

What ``process_results`` returns is read like this: the entries named in the task's ``metric_list`` are its metrics (the
first is the headline; a sample may have some of them only); ``status`` ("scored", "unparsed" or "empty") and
``extracted`` (the answer read out of the text, or None) may stand beside them, and plain lmms-eval passes over them.
Without ``status``, blank text counts as empty. A sample's category comes from its row: ``metadata.category`` of a YAML
names a column, benchmarks know their own (results.py).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lladav_eval.errors import EvalError, SampleError, TaskError, one_line
from lladav_eval.records import Score
from lladav_eval.runs.journal import Record
from lladav_eval.runs.own_judges import without_judges
from lladav_eval.runs.questions import Plan, metadata_of
from lladav_eval.scoring.aggregate import item_value
from lladav_eval.scoring.lmms import results
from lladav_eval.scoring.registry import get_scorer


@dataclass(frozen=True)
class Verdict:
    """A sample's score, with what the task's aggregation needs."""

    score: Score
    items: dict[str, Any]
    """Metric name -> what process_results returned; empty when the sample failed."""
    scores: dict[str, Any] = field(default_factory=dict)
    """Protocol -> the whole score, of a benchmark of ours; empty when the sample failed."""


THINKING = [["<think>", "</think>"], ["<thinking>", "</thinking>"]]
"""What ``auto_strip_thinking`` takes out of an answer (StripThinkingFilter of lmms-eval)."""

Ask = Callable[[str, int, int], str]
"""(prompt, most tokens of the reply, times that this sample asked the same before) -> what the judge of the official
protocol says; stored by whoever asks."""


def judge(plan: Plan, record: Record, protocol: str = "strict", ask: Ask | None = None) -> Verdict:
    """Score one answer. A failing scorer makes a failed sample with the reason, never an end of the run.

    Status and extracted answer are those of ``protocol``. ``ask`` reaches the judge that some official protocols need;
    without it their samples wait for one.
    """
    if record.generation.status == "failed":
        return Verdict(Score(0.0, None, "failed", {"error": record.generation.error}), {})
    try:
        found = process(plan, record.doc_id, record.generation.text)
        if found.get("needs_judge") is True and ask is not None:
            found = _judged(plan, record, ask)
        return _verdict(record, found, metric_names(plan), protocol)
    except TaskError as error:  # the table is wrong, or the judge can't be reached: not this sample's fault
        raise TaskError(f"{plan.name}, row {record.doc_id}: {error}") from None
    except EvalError:
        raise
    except (Exception, SystemExit) as error:  # functions of the task
        reason = f"scoring failed: {type(error).__name__}: {one_line(error)}"
        return Verdict(Score(0.0, None, "failed", {"error": reason}), {})


def _judged(plan: Plan, record: Record, ask: Ask) -> dict[str, Any]:
    """The scores of an answer that its benchmark's own rule leaves to a judge: asked until nothing is left to ask."""
    family = plan.task.config.metadata["family"]
    judge = get_scorer(family).judge
    assert judge is not None
    doc, text = plan.task.eval_docs_no_media[record.doc_id], record.generation.text
    replies: list[str] = []
    asked: Counter[str] = Counter()
    with contextlib.suppress(SampleError):  # the judge refuses this prompt: its official verdict stays open
        while (call := judge.next_call(doc, text, replies)) is not None:
            replies.append(ask(call.prompt, call.max_tokens, asked[call.prompt]))
            asked[call.prompt] += 1
    return {**results(family, doc, [text], replies), "judge_replies": replies}


def _verdict(record: Record, result: dict[str, Any], names: list[str], protocol: str) -> Verdict:
    given = [name for name in names if name in result]
    if not given:
        raise ValueError(f"process_results gave no {' and no '.join(names)}")
    items = {name: int(result[name]) if isinstance(result[name], bool) else result[name] for name in given}
    side = "official_" if protocol == "official" and "official_status" in result else ""
    status = result.get(f"{side}status", "scored" if record.generation.text.strip() else "empty")
    if status not in ("scored", "unparsed", "empty"):
        raise ValueError(f"process_results gave status {status!r}")
    extracted = result.get(f"{side}extracted")
    values = {name: _sample_value(item) for name, item in items.items()}
    metrics = {name: value for name, value in values.items() if value is not None}
    headline = metrics.get(given[0], 0.0)
    details = {
        "metrics": metrics,
        "needs_judge": result.get("needs_judge") is True,
        "judge_replies": result.get("judge_replies", []),
    }
    score = Score(headline, None if extracted is None else str(extracted), status, details)
    scores = result.get("scores")
    return Verdict(score, items, scores if isinstance(scores, dict) else {})


def _sample_value(item: Any) -> float | None:
    """The sample's own value of a metric. Where the task's figure is no mean (MME's sums), the sample still has one."""
    if isinstance(item, dict) and "score" not in item:
        item = item.get("value")
    return item_value(item)


def metric_names(plan: Plan) -> list[str]:
    """The task's metrics in the order of its ``metric_list``; the first is the headline."""
    names = [str(name) for name in plan.task.aggregation()]
    if not names:
        raise TaskError(f"the task {plan.name} names no metric: add metric_list to its YAML")
    return names


def process(plan: Plan, doc_id: int, text: str) -> dict[str, Any]:
    """The task's filters, then its process_results, each once: lmms-eval would try five times, two seconds apart."""
    from lmms_eval.api.instance import Instance
    from lmms_eval.api.reasoning import parse_reasoning_tags_config, strip_reasoning_tags

    task = plan.task
    docs = task.eval_docs_no_media
    tags = parse_reasoning_tags_config(task_value=task.config.reasoning_tags)
    if tags is None and task.config.auto_strip_thinking:
        text = strip_reasoning_tags(text, THINKING)
    instance = Instance("generate_until", (), 0, {"task": plan.name, "doc_id": doc_id, "repeats": 1}, resps=[text])
    (ensemble,) = task._filters
    ensemble.apply([instance], docs)
    response = instance.filtered_resps[ensemble.name]
    if tags is not None and isinstance(response, str):
        response = strip_reasoning_tags(response, tags)
    method = type(task).process_results
    once: Callable[..., Any] = getattr(method, "__wrapped__", method)
    extra = {"full_docs": docs} if task.config.full_docs else {}
    with contextlib.nullcontext() if "family" in metadata_of(task) else without_judges():
        result = once(task, docs[doc_id], [response], **extra)
    if not isinstance(result, dict):
        raise ValueError(f"process_results gave {type(result).__name__} instead of a mapping")
    return result
