"""The results of one task: a line of samples.jsonl for every sample, and the figures of results.json."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from lladav_eval.approximate import in_use
from lladav_eval.background import Background
from lladav_eval.errors import TaskError, one_line
from lladav_eval.records import RunSpec
from lladav_eval.runs.aggregations import Aggregation, args_for, clear, goes_beyond_one, written
from lladav_eval.runs.journal import Journal, Record
from lladav_eval.runs.questions import Plan, metadata_of, plain
from lladav_eval.runs.tally import Tally
from lladav_eval.runs.verdicts import Ask, Verdict, judge, metric_names, process
from lladav_eval.scoring.aggregate import NoFigure, OutsideScale, Scale, count, summarise
from lladav_eval.scoring.categories import category_of, cell
from lladav_eval.scoring.clusters import cluster_of
from lladav_eval.scoring.cost import CostCounter, cost_of
from lladav_eval.scoring.lmms import figures, is_mapping_item, shares_of
from lladav_eval.scoring.registry import FAMILIES, get_scorer

SHOWN_SETTINGS = ("gen_length", "block_length", "steps")
"""Generation settings that stand beside a figure, the first of any model; the manifest has all."""
_OF_DENOISING = ("block_length", "steps", "cfg_scale", "remasking")
"""What means nothing to other models than diffusion."""
ASKED_AT_ONCE = 8
"""Samples whose judge is asked at the same time."""
MOST_SERVED = 20
"""Names of models behind an endpoint that a task's figures tell of; an endpoint may give each answer its own."""


class TaskResults:
    """Scores all samples of a task in one pass: ``rows`` gives the lines of samples.jsonl, ``summary`` the totals."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        spec: RunSpec,
        run: Path,
        ask: Ask | None = None,
        diffusion: bool = True,
    ) -> None:
        """``diffusion``: whether the model's answers have blocks and steps, which then stand beside the figures.

        ``run`` is the directory that the task's own aggregations write into.
        """
        self.plan = plan
        self._unsure = not plan.scale_stated
        """Whether nothing has shown yet how far the figures count."""
        self._args = args_for(plan.name, spec, run)
        self._run = run
        self._diffusion = diffusion
        self._shown = SHOWN_SETTINGS if diffusion else SHOWN_SETTINGS[:1]
        self.protocol: str = spec.protocol
        self._family = metadata_of(plan.task).get("family")
        self._journal = journal
        self._ask = ask
        self._statuses: Counter[str] = Counter()
        self._names = metric_names(plan)
        self._tally = Tally(self._names)
        self._empties: dict[int, dict[str, Any]] = {}
        """Of the failed samples."""
        self._scores: dict[str, list[Any]] = {"official": [], "strict": []}
        self._waiting = 0
        self._costs = CostCounter()
        self._served: Counter[str] = Counter()

    def rows(self) -> Iterator[dict[str, Any]]:
        """One mapping per sample, in the order of the split."""
        for record, verdict in self._judged():
            self._statuses[verdict.score.status] += 1
            row = self._row(record, verdict)
            if verdict.score.status == "failed":
                self._tally.add_failed(record.doc_id, row["cluster"])
            else:
                self._tally.add(record.doc_id, verdict.items, row["cluster"])
            self._waiting += bool(verdict.score.details.get("needs_judge"))
            if record.generation.status == "ok":
                self._costs.add(cost_of(record.generation))
            if record.generation.served_model is not None:
                self._served[record.generation.served_model] += 1
            if self._family in FAMILIES:
                scores = verdict.scores or self._empty_result(record.doc_id).get("scores")
                for name, found in self._scores.items():
                    found.append(scores and scores.get(name))
            yield row

    def _judged(self) -> Iterator[tuple[Record, Verdict]]:
        """Records with their verdicts, in order; where a judge is asked, several samples at a time."""
        records = self._journal.read(self.plan.name, range(self.plan.count))
        if self._ask is None:
            for record in records:
                yield record, judge(self.plan, record, self.protocol)
            return
        with Background(ASKED_AT_ONCE) as pool:
            while chunk := list(islice(records, 8 * ASKED_AT_ONCE)):
                jobs = [pool.submit(judge, self.plan, record, self.protocol, self._ask) for record in chunk]
                for record, job in zip(chunk, jobs, strict=True):
                    yield record, job.result()

    def _empty_items(self, metric: str, failed: list[int]) -> list[Any]:
        return [self._empty(doc_id, metric) for doc_id in failed]

    def _empty(self, doc_id: int, metric: str) -> Any:
        """What the empty answer gives for a sample that failed."""
        found = self._empty_result(doc_id)
        if metric not in found:
            raise TaskError(
                f"the task {self.plan.name} can't count its failed samples: process_results of an empty answer gave no "
                f"{metric}"
            )
        return found[metric]

    def _empty_result(self, doc_id: int) -> dict[str, Any]:
        """Items and scores of the empty answer, worked out once: each metric asks for them."""
        if doc_id in self._empties:
            return self._empties[doc_id]
        try:
            found = process(self.plan, doc_id, "")
            items = {name: found[name] for name in self._names if name in found}
            return self._empties.setdefault(doc_id, {"scores": found.get("scores"), **items})
        except (Exception, SystemExit) as error:  # functions of the task
            raise TaskError(
                f"the task {self.plan.name} can't count its failed samples: process_results of an empty answer "
                f"failed ({one_line(error)})"
            ) from error

    def _row(self, record: Record, verdict: Verdict) -> dict[str, Any]:
        generation, score = record.generation, verdict.score
        cost = cost_of(generation)
        doc = self.plan.task.eval_docs_no_media[record.doc_id]
        return {
            "task": record.task,
            "doc_id": record.doc_id,
            "category": _category(self.plan, doc),
            "cluster": _cluster(self.plan, doc),
            "key": record.key,
            "prompt": record.prompt,
            "media": record.media,
            "target": _target(self.plan, doc),
            "text": generation.text,
            "extracted": score.extracted,
            "status": score.status,
            "error": score.details.get("error"),
            "metrics": self._failed_metrics(record) if score.status == "failed" else score.details["metrics"],
            **self._shared(record, verdict),
            **({"judge_replies": replies} if (replies := score.details.get("judge_replies")) else {}),
            "token_ids": list(generation.token_ids),
            "forward_passes": generation.forward_passes,
            "stop_reason": generation.stop_reason,
            **({} if generation.served_model is None else {"served_model": generation.served_model}),
            "seconds": generation.seconds,
            "cost": {name: value for name, value in cost.items() if name not in ("forward_passes", "seconds")},
        }

    def _failed_metrics(self, record: Record) -> dict[str, float]:
        """0 in each metric that a failed sample could have had; in all where its empty answer doesn't tell."""
        try:
            names = self._tally.could_have(record.doc_id, self._empty_result)
        except TaskError:
            names = self._names
        return dict.fromkeys(names, 0.0)

    def _shared(self, record: Record, verdict: Verdict) -> dict[str, Any]:
        """What a figure that is no mean is made of, where it can be taken apart again (scoring/lmms.py: shares)."""
        family = self._family
        if family not in FAMILIES or get_scorer(family).shares is None:
            return {}
        items = verdict.items or {name: self._empty(record.doc_id, name) for name in self._names}
        return {"items": {name: item for name, item in items.items() if is_mapping_item(item)}}

    def summary(self) -> dict[str, Any]:
        """Counts, metrics and cost of the task; to be called once ``rows`` is used up."""
        counts = count(self._statuses)
        costs = self._costs.summary()
        changed = {n: v for n, v in self.plan.changed.items() if self._diffusion or n not in _OF_DENOISING}
        used = plain(self.plan.settings)
        scale = self.plan.scale
        clear(self._args)
        try:
            metrics, without = self._metrics(scale)
        except OutsideScale:
            if self.plan.scale_stated:
                raise
            scale = "points"
            metrics, without = self._metrics(scale)
        if self._waiting:  # a figure without the judge's replies would be another protocol under this one's name
            del metrics["official"]
        return {
            **asdict(counts),
            "version": self.plan.version,
            "family": self._family,
            "rows": len(self.plan.task.eval_docs),
            "settings": {name: used[name] for name in self._shown},
            "changed": changed,
            "changed_to": {name: used[name] for name in changed},
            "approximate": in_use(asdict(self.plan.settings.params)),
            "headline": self._headline(metrics),
            "metrics": metrics,
            "figures": self._figures(metrics),
            "without_figure": without,
            "files": written(self._args, self._run),
            "waiting_for_judge": self._waiting,
            "scale": scale,
            "scale_assumed": scale != self.plan.scale,
            "forward_passes_per_sample": costs.mean("forward_passes"),
            "seconds_per_sample": costs.mean("seconds"),
            "cost": costs.as_json(),
            "served_models": dict(self._served.most_common(MOST_SERVED)),
        }

    def _metrics(self, scale: Scale) -> tuple[dict[str, Any], list[str]]:
        """The figures of all metrics, and the metrics without one."""
        metrics, without = {}, []
        for name, function in self.plan.task.aggregation().items():
            try:
                found = self._metric(str(name), Aggregation(function, self._args), scale)
            except NoFigure:
                without.append(str(name))
                continue
            if found is not None:
                metrics[str(name)] = found
        return metrics, without

    def _metric(self, name: str, aggregate: Aggregation, scale: Scale) -> dict[str, Any] | None:
        """A figure over all samples; None where, as in lmms-eval, there is no sample of the kind."""
        items, failed = self._tally.items[name], self._tally.failed(name, self._empty_result)
        if not items and not failed:
            return None
        clusters = [*self._tally.clusters[name], *(cluster for _, cluster in failed)]
        empty_items = partial(self._empty_items, name, [doc_id for doc_id, _ in failed])
        shares = partial(shares_of, self._family)
        try:
            summary = summarise(name, items, len(failed), scale, aggregate, empty_items, clusters, shares)
            if self._unsure and scale == "fraction" and not summary.is_mean and summary.value > 0:
                self._unsure = False  # one such figure tells it of the others: some take a minute (captions')
                beyond = goes_beyond_one(aggregate, items)
                aggregate(items)  # what it writes and prints is of all items again
                if beyond:
                    raise OutsideScale(f"metric {name}: the figure of some samples alone is outside 0..1")
        finally:
            if failed and aggregate.takes_args:  # a file that it writes has all samples, and these in their order
                with contextlib.suppress(Exception, SystemExit):  # functions of the task; the figure doesn't need it
                    aggregate(self._tally.in_order(name, failed, empty_items()))
        return {**asdict(summary), "n": len(items) + len(failed)}

    def _figures(self, metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
        """Everything that the benchmark's own tables show, by protocol: MME's perception, POPE's accuracy and so on."""
        return {
            name: figures(str(self._family), scores)
            for name, scores in self._scores.items()
            if name in metrics and scores and all(map(is_mapping_item, scores))
        }

    def _headline(self, metrics: dict[str, Any]) -> str:
        """The asked protocol's figure; where there is none another one, which whoever shows it names, or nothing."""
        return self.protocol if self.protocol in metrics else next(iter(metrics), "")


def _category(plan: Plan, doc: Any) -> str | None:
    """``metadata.category`` of the YAML names a column; a benchmark's family knows its own."""
    metadata = metadata_of(plan.task)
    if "category" in metadata:
        return cell(doc, str(metadata["category"]))
    return category_of(str(metadata.get("family")), doc, plan.task.config.dataset_name)


def _cluster(plan: Plan, doc: Any) -> str | None:
    """``metadata.cluster`` of the YAML names a column; a benchmark's family knows its own."""
    metadata = metadata_of(plan.task)
    if "cluster" in metadata:
        return cell(doc, str(metadata["cluster"]))
    return cluster_of(str(metadata.get("family")), doc)


def _target(plan: Plan, doc: Any) -> Any:
    """The right answer for the sample log; None where the task gives none that can be written down."""
    try:
        target = plan.task.doc_to_target(doc)
    except (Exception, SystemExit):  # functions of the task; the target is for readers only, scoring doesn't use it
        return None
    if isinstance(target, (list, tuple)):
        return [str(item) for item in target]
    return target if isinstance(target, (int, float)) and math.isfinite(target) else str(target)
