"""A finished run to Weights & Biases: figures with all that must stand beside them, samples as a table.

The same run directory always becomes the same W&B run, so that a repeated command updates it rather than doubling it.
W&B records the machine it logs from by itself; that, the code and the git state are switched off, since the figures'
own commit and date are those of the evaluation.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lladav_eval.errors import EnvironmentError_, UsageError, one_line
from lladav_eval.reports.html_data import target_text
from lladav_eval.reports.pairing import run_facts
from lladav_eval.reports.run_data import RunData, Task, plain, protocol_of
from lladav_eval.runs.store import RunDirectory

SCORES = (
    "task", "metric", "value", "low", "high", "n", "failed", "unparsed", "empty", "seconds_per_sample",
    "forward_passes_per_sample", "protocol", "approximate", "commit", "date",
)  # fmt: skip
SAMPLES = (
    "task", "doc_id", "category", "status", "value", "prompt", "target", "answer", "extracted", "error",
    "forward_passes", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Destination:
    """Where to log."""

    project: str
    entity: str | None = None
    """Team or user; None is the account's own."""
    group: str | None = None
    tags: tuple[str, ...] = ()
    offline: bool = False
    """Write to ./wandb only (or $WANDB_DIR); ``wandb sync`` sends it later. So does WANDB_MODE=offline."""

    def check(self) -> None:
        """Raises UsageError for names that W&B refuses."""
        if not 1 <= len(self.project) <= 128 or set(self.project) & set("/\\#?%:"):
            raise UsageError(
                f"--wandb {self.project!r}: a project's name has 1 to 128 characters and none of / \\ # ? % :"
            )
        for tag in self.tags:
            if not 1 <= len(tag) <= 64:
                raise UsageError(f"--tag {tag!r}: a tag has 1 to 64 characters")


def wandb_id(run: RunData) -> str:
    """The W&B run of a run directory: the same for the same results."""
    facts = "\0".join((run.label, run.fingerprint, run.protocol, run.date))
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def summary(run: RunData) -> dict[str, float]:
    """What W&B compares runs by: ``task/metric`` with interval, n, failures and cost."""
    found: dict[str, float | None] = {}
    for task in run.tasks.values():
        for name, metric in task.metrics.items():
            found[f"{task.column}/{name}"] = metric.value
            found[f"{task.column}/{name}_low"] = metric.low
            found[f"{task.column}/{name}_high"] = metric.high
        for name in ("n", "failed", "unparsed", "empty", "seconds_per_sample", "forward_passes_per_sample"):
            found[f"{task.column}/{name}"] = getattr(task, name)
    return {name: value for name, value in found.items() if value is not None}


def config(run: RunData) -> dict[str, Any]:
    """What was run: the facts beside every number, and each task's settings and data."""
    keep = ("version", "dataset_path", "dataset_name", "split", "data_revision", "headline", "scale")
    return {
        **run_facts(run),
        "fingerprint": run.fingerprint,
        "tasks": {
            task.column: {
                **{name: getattr(task, name) for name in keep},
                "settings": {name: plain(value) for name, value in task.settings.items()},
            }
            for task in run.tasks.values()
        },
    }


def score_rows(run: RunData) -> list[list[Any]]:
    """One row per task and metric, in the order of SCORES."""
    return [_score_row(run, task, name) for task in run.tasks.values() for name in task.metrics]


def _score_row(run: RunData, task: Task, name: str) -> list[Any]:
    metric = asdict(task.metrics[name])
    return [
        task.column, name, metric["value"], metric["low"], metric["high"], metric["n"], task.failed, task.unparsed,
        task.empty, task.seconds_per_sample, task.forward_passes_per_sample, protocol_of(name, task, run),
        task.approximate, run.version, run.date,
    ]  # fmt: skip


def sample_rows(run: RunData, limit: int) -> Iterator[list[Any]]:
    """The first ``limit`` samples of every task, in the order of SAMPLES."""
    for task in run.tasks.values():
        for sample in run.of_task(task.name)[:limit]:
            yield [
                task.column, sample.doc_id, sample.category, sample.status, sample.metrics.get(task.headline),
                sample.prompt, target_text(sample.target), sample.text, sample.extracted, sample.error,
                sample.cost["forward_passes"], sample.cost["seconds"],
            ]  # fmt: skip


def log_run(run: RunData, destination: Destination, samples: int) -> str:
    """Log one run; gives the address of its page, or the folder that `wandb sync` takes of an offline one.

    Raises EnvironmentError_ where wandb isn't installed, isn't logged in, or can't be reached; UsageError for paths
    that it can't write down.
    """
    for place, fix in ((os.environ.get("WANDB_DIR", os.getcwd()), "set WANDB_DIR"), (str(run.path), "rename it")):
        if any("\udc80" <= character <= "\udcff" for character in place):
            raise UsageError(f"Weights & Biases takes only paths in UTF-8, and {place!r:.80} is none: {fix}")
    try:
        import wandb
    except ImportError as error:
        raise EnvironmentError_("Weights & Biases is not installed: pip install 'lladav_eval[wandb]'") from error
    offline = destination.offline or os.environ.get("WANDB_MODE") == "offline"
    quiet = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
    )
    try:
        with wandb.init(
            project=destination.project,
            entity=destination.entity,
            group=destination.group,
            tags=list(destination.tags) or None,
            name=run.label,
            id=wandb_id(run),
            resume=None if offline else "allow",
            job_type="evaluation",
            config=config(run),
            mode="offline" if offline else None,
            settings=quiet,
        ) as logged:
            logged.summary.update(summary(run))
            tables = {"scores": wandb.Table(list(SCORES), data=score_rows(run), allow_mixed_types=True)}
            if samples:
                rows: Sequence[list[Any]] = list(sample_rows(run, samples))
                tables["samples"] = wandb.Table(list(SAMPLES), data=rows, allow_mixed_types=True)
            logged.log(tables)
            artifact = wandb.Artifact(f"evaluation-{logged.id}", type="evaluation", metadata=run_facts(run))
            directory = RunDirectory(run.path)
            for path in (directory.results, directory.samples, directory.table):
                if path.is_file():
                    artifact.add_file(str(path))
            logged.log_artifact(artifact)
            page = str(Path(logged.dir).parent if offline else logged.url)
    except (wandb.Error, OSError) as error:
        raise EnvironmentError_(
            f"Weights & Biases: {one_line(error)}; log in with `wandb login`, or give --offline and `wandb sync` later"
        ) from error
    return page
