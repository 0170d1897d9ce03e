"""Scoring recorded answers: a task's rows and a file of answers in, counts and figures out. No model, no media."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lladav_eval.data.layout import NoSuchSplit
from lladav_eval.data.source import open_table
from lladav_eval.data.table import Table
from lladav_eval.errors import TaskError, UsageError
from lladav_eval.recorded import ADVICE
from lladav_eval.records import Score
from lladav_eval.runs import manifest
from lladav_eval.runs.answer_files import KEY
from lladav_eval.runs.docs import rows_where
from lladav_eval.runs.predictions import is_of_run, read_predictions, read_replies
from lladav_eval.runs.tasks import read_task, resolve_tasks
from lladav_eval.scoring.aggregate import Counts, count, interval
from lladav_eval.scoring.clusters import CLUSTER_COLUMNS, cluster_of
from lladav_eval.scoring.judging import is_unsettled
from lladav_eval.scoring.registry import Scorer, get_scorer

Protocol = Literal["official", "strict"]
EXACT_MATCHING = "exact_matching"


@dataclass(frozen=True)
class Benchmark:
    """Where a task's rows are and who scores them, from its YAML alone."""

    task: str
    family: str
    dataset_path: str
    dataset_name: str | None
    splits: tuple[str, ...]
    """The split's name; in a local data folder it may go by one of several."""
    where: Mapping[str, Any]
    """Only rows whose columns have these values belong to the task."""
    revision: str | None = None
    """The branch or commit of the data set that the task asks for; None is its main branch."""


@dataclass(frozen=True)
class ScoreReport:
    """The verdict on one file of answers."""

    task: str
    protocol: Protocol
    counts: Counts
    metrics: Mapping[str, float]
    """On 0-100, except MME's points; empty where nothing but a judge could score."""
    headline: str
    revision: str
    """Which data the rows are."""
    interval: tuple[float, float] | None
    """95 % interval of the headline, on 0-100; None where that is no mean over samples."""
    commit: str | None
    """Of this program, marked + where the tree was dirty; None for an installed package."""
    date: str
    """When the answers were scored, ISO 8601."""
    notes: tuple[str, ...] = ()
    """One line each on what the figures don't say."""

    def as_json(self) -> dict[str, Any]:
        """The object that ``lladav-eval score --json`` prints."""
        return {
            "task": self.task,
            "protocol": self.protocol,
            **asdict(self.counts),
            "metrics": dict(self.metrics),
            "headline": self.headline,
            "interval_95": None if self.interval is None else list(self.interval),
            "data_revision": self.revision,
            "commit": self.commit,
            "date": self.date,
            "notes": list(self.notes),
        }


def benchmark(name: str, include_path: Sequence[str | Path] = ()) -> Benchmark:
    """The benchmark behind a task name. Raises TaskError if it is unknown, a group, or none of the benchmarks."""
    tasks = resolve_tasks([name], include_path)
    if len(tasks) > 1:
        known = [task for task in tasks if "family" in (read_task(task, include_path).get("metadata") or {})]
        advice = (
            f"score one task at a time: {', '.join(known)}"
            if known
            else "`lladav-eval run --model replay:FILE` scores answers to its tasks"
        )
        raise TaskError(f"{name} is a group; {advice}")
    content = read_task(tasks[0], include_path)
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    split = content.get("test_split") or content.get("validation_split")
    if "family" not in metadata or not split or not content.get("dataset_path"):
        raise TaskError(f"{tasks[0]} is no benchmark: `lladav-eval run --model replay:FILE` scores answers to it")
    return Benchmark(
        tasks[0],
        str(metadata["family"]),
        str(content["dataset_path"]),
        str(content["dataset_name"]) if content.get("dataset_name") else None,
        tuple(map(str, metadata.get("local_splits") or [split])),
        metadata.get("where") or {},
        (content.get("dataset_kwargs") or {}).get("revision"),
    )


def score_predictions(
    task: str,
    predictions: Path,
    protocol: Protocol,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
    judge_replies: Path | None = None,
    include_path: Sequence[str | Path] = (),
) -> ScoreReport:
    """Score a file of answers.

    Args:
        task: a benchmark's task, short or full name.
        judge_replies: stored replies of a judge, for the official protocol of the families that have one; None takes
            those in a run's samples.

    Raises:
        UsageError, TaskError: one line naming file and row of what is wrong with answers or rows.
        EnvironmentError_: the rows must come from the hub, which can't be reached.
    """
    asked = benchmark(task, include_path)
    scorer = get_scorer(asked.family)
    if not predictions.is_file():
        what = "no such file"
        if predictions.exists():
            what = "a folder" if predictions.is_dir() else "a pipe or a device, and answers are read twice"
        raise UsageError(f"{predictions}: {what}; give a file of predictions: {ADVICE}")
    table = open_benchmark(asked, data_dir=data_dir, offline=offline)
    named = scorer.named or scorer.identity or KEY
    told = dict.fromkeys(("index", "question", "answer", named))
    rows = _rows(table, scorer, asked.where, (*CLUSTER_COLUMNS.get(asked.family, ()), *told))
    columns = {column: [row[column] for _, row in rows] for column in told if column in rows[0][1]}
    answers = read_predictions(predictions, len(rows), columns, task=asked.task, named=named, split=asked.splits[-1])
    said = judge_replies or (predictions if is_of_run(predictions) else None)
    replies = None if said is None else read_replies(said, len(rows), asked.task)
    scores, notes = _scores(scorer, rows, answers, protocol, replies, table)
    metrics, headline = _metrics(scorer, scores, protocol, table)
    counts = count(score.status for score in scores)
    low_high = None
    if headline in metrics:
        values = [score.value for score in scores] if scorer.shares is None else scorer.shares(scores)
        low, high, _ = interval(values, [cluster_of(asked.family, row) for _, row in rows])
        low_high = (low, high) if scorer.points else (100 * max(low, 0.0), 100 * min(high, 1.0))
    git = manifest.commit()
    commit = None if git is None else git["commit"] + "+" * git["dirty"]
    return ScoreReport(
        task, protocol, counts, metrics, headline, table.revision, low_high, commit, manifest.now(), notes
    )


def open_benchmark(asked: Benchmark, *, data_dir: Path | None = None, offline: bool = False) -> Table:
    """The rows of a benchmark; in a local folder under the first of its names that is there."""
    splits = asked.splits if data_dir is not None else asked.splits[:1]
    where: dict[str, Any] = {"data_dir": data_dir, "offline": offline, "revision": asked.revision}
    for split in splits[:-1]:
        try:
            return open_table(asked.dataset_path, asked.dataset_name, split, **where)
        except NoSuchSplit:
            continue
    return open_table(asked.dataset_path, asked.dataset_name, splits[-1], **where)


def _rows(
    table: Table, scorer: Scorer, where: Mapping[str, Any], also: Sequence[str] = ()
) -> list[tuple[int, dict[str, Any]]]:
    """(position in the table, text columns) of the task's rows. Raises TaskError for doubled ids or no rows."""
    extra = (*scorer.optional, *((scorer.identity,) if scorer.identity else ()), *also)
    rows = rows_where(table, where, (*scorer.columns, *(name for name in extra if name in table.columns)))
    if not rows:
        raise TaskError(f"{table.files[0]}: no row has {dict(where)}: the split is empty for this task")
    if scorer.identity is not None and scorer.identity in rows[0][1]:
        first: dict[str, int] = {}
        for place, row in rows:
            other = first.setdefault(str(row[scorer.identity]), place)
            if other != place:
                raise TaskError(
                    f"{table.where(place)}: the {scorer.identity} {row[scorer.identity]!r} is doubled, row {other} has "
                    "it too; get the data again"
                )
    return rows


def _scores(
    scorer: Scorer,
    rows: Iterable[tuple[int, dict[str, Any]]],
    answers: Sequence[str | None],
    protocol: Protocol,
    replies: Mapping[int, tuple[str, ...]] | None,
    table: Table,
) -> tuple[list[Score], tuple[str, ...]]:
    judge = scorer.judge if protocol == "official" else None
    extracted = judge is not None and judge.takes_extractions and replies is None
    scores = []
    for (place, row), (doc_id, given) in zip(rows, enumerate(answers), strict=True):
        answer = given or ""
        try:
            if judge is None:
                scores.append(scorer.score(row, answer, protocol, doc_id))
            else:
                said = (answer,) if extracted else (replies or {}).get(doc_id, ())
                scores.append(judge.score(row, answer, said, doc_id))
        except TaskError as error:
            raise TaskError(f"{table.where(place)}: {error}") from None
        if given is None:
            scores[-1] = replace(scores[-1], value=0.0, extracted=None, status="failed")
    notes = []
    if extracted:
        notes.append("the answers are taken as what the judge extracted; for raw responses give --judge-replies")
    drawn = [score.value for score in scores if "guess" in score.details]
    if drawn:
        notes.append(
            f"{len(drawn)} of {len(scores)} answers can't be read; as in the script a letter is drawn for each, "
            f"{sum(drawn):.0f} times the right one: another draw gives another figure"
        )
    waiting = sum(map(is_unsettled, scores))
    if waiting and judge is not None:
        notes.append(
            f"the official column isn't filled: {waiting} of {len(scores)} answers wait for a judge ({judge.model} in "
            "the authors' evaluation); give its stored replies with --judge-replies, or use --protocol strict"
        )
    return scores, tuple(notes)


def _metrics(scorer: Scorer, scores: Sequence[Score], protocol: Protocol, table: Table) -> tuple[dict[str, float], str]:
    """(figures, name of the headline). What waits for a judge gets no official figure, only one by exact matching."""
    headline = scorer.headline[protocol]
    waiting = sum(map(is_unsettled, scores))
    if waiting == len(scores):
        return {}, headline
    try:
        metrics = scorer.aggregate(scores)
    except TaskError as error:
        raise TaskError(f"{table.files[0]}: {error}") from None
    if not waiting:
        return metrics, headline
    return {f"{name}_{EXACT_MATCHING}": value for name, value in metrics.items()}, f"{headline}_{EXACT_MATCHING}"
