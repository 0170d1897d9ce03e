"""What can be known to be wrong with a task before its model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from importlib import import_module
from inspect import Parameter, signature
from io import StringIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lladav_eval.errors import EnvironmentError_, SampleError, SettingError, TaskError
from lladav_eval.records import RunSpec
from lladav_eval.runs.aggregations import Aggregation, args_for
from lladav_eval.runs.own_judges import has_key, missing_key, without_judges
from lladav_eval.runs.progress import say
from lladav_eval.runs.questions import Plan, metadata_of, prompt_text
from lladav_eval.runs.verdicts import metric_names, process
from lladav_eval.scoring.registry import Scorer, get_scorer

if TYPE_CHECKING:
    from rich.console import Console

TRIED = 4
"""Rows by which a task's own functions show whether they ask a judge."""
VIDEO_FAMILIES = ("mvbench", "mlvu", "videomme")
"""Families whose videos lie beside their table; their modules of prompts know where."""


def check_plan(plan: Plan, spec: RunSpec, console: Console | None) -> None:
    """Raises SettingError, TaskError or EnvironmentError_; says on ``console`` what else should be known."""
    names = metric_names(plan)
    if spec.protocol == "official" and "official" not in names:
        raise SettingError(f"the task {plan.name} has no official protocol: leave out --protocol official")
    lower = [name for name, higher in plan.task.higher_is_better().items() if higher is False]
    if lower:
        raise TaskError(
            f"the task {plan.name} says `higher_is_better: false` of {', '.join(lower)}: failed samples count as 0 and "
            "reports take more for better, so give 1 minus it, or leave it out of metric_list"
        )
    _check_scoring(plan)
    _check_judges(plan, spec)
    metadata = metadata_of(plan.task)
    _check_columns(plan, metadata)
    family = metadata.get("family")
    if family is None:
        return
    _check_wording(plan)
    if family in VIDEO_FAMILIES:
        from lladav_eval.prompts.videos import check_layout

        locate = import_module(f"lladav_eval.prompts.{family}").locate
        rows = (plan.task.eval_docs_no_media[index] for index in range(plan.count))
        check_layout(plan.name, rows, locate, plan.task.lmms_eval_specific_kwargs)
    _check_rows(plan, get_scorer(family), spec)
    if get_scorer(family).judge is not None and spec.judge is None:
        say(
            console, f"note: {plan.name}: the official figure needs a judge and will stay empty; give --judge MODEL@URL"
        )


def _check_scoring(plan: Plan) -> None:
    """What can't be scored, as far as it shows before a model has answered."""
    filters = len(plan.task._filters)
    if filters != 1:
        raise TaskError(f"the task {plan.name} has {filters} entries in filter_list: only one can be run, or no list")
    for metric, aggregate in plan.task.aggregation().items():
        if not callable(aggregate):
            raise TaskError(f"the task {plan.name}: the metric {metric} has an aggregation that lmms-eval doesn't know")
        wanted = _must_have(aggregate)
        if wanted:
            raise TaskError(
                f"the task {plan.name}: the aggregation of the metric {metric} wants `{wanted}`, which lmms-eval "
                "doesn't give: leave the metric out of metric_list"
            )


def _check_judges(plan: Plan, spec: RunSpec) -> None:
    """Scores answers that say nothing, as these are what a task's own functions leave to a judge."""
    if "family" in metadata_of(plan.task) or has_key():
        return
    items: dict[str, list[Any]] = {}
    with TemporaryDirectory() as folder, without_judges(closed=True) as asked, redirect_stdout(StringIO()):
        for doc_id in range(min(plan.count, TRIED)):
            for text in ("", "?"):
                with suppress(Exception, SystemExit):  # functions of the task: what else is wrong shows in the run
                    for name, item in process(plan, doc_id, text).items():
                        items.setdefault(name, []).append(item)
        for name, function in plan.task.aggregation().items():
            if str(name) in items and not asked:
                with suppress(Exception, SystemExit):
                    Aggregation(function, args_for(plan.name, spec, Path(folder)))(items[str(name)])
    if asked:
        raise EnvironmentError_(
            f"the task {plan.name} leaves answers to a judge at {asked[0]}, and there is no key for one: "
            f"set {missing_key(asked[0])}"
        )


def _must_have(function: Callable[..., Any]) -> str:
    """A parameter behind the first that has no default and that lmms-eval doesn't know; empty if there is none."""
    try:
        parameters = list(signature(function).parameters.values())[1:]
    except (ValueError, TypeError):  # of some builtins nobody knows
        return ""
    kinds = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    lacking = (p.name for p in parameters if p.default is Parameter.empty and p.kind not in kinds and p.name != "args")
    return next(lacking, "")


def _check_columns(plan: Plan, metadata: dict[str, Any]) -> None:
    """The columns that sort rows have to be there: a misspelt one would leave every sample without its place."""
    row = plan.task.eval_docs_no_media[0]
    for name in ("category", "cluster"):
        column = str(metadata.get(name, ""))
        if column and column not in row and column.partition(".")[0] not in row:
            raise TaskError(f"{plan.name}: metadata.{name} names {column!r}, rows have {', '.join(map(str, row))}")


def _check_wording(plan: Plan) -> None:
    """Prompts here are fixed: a wording in the YAML, as lmms-eval's own tasks take it, would change nothing unsaid."""
    settings = plan.task.lmms_eval_specific_kwargs or {}
    for name in ("pre_prompt", "post_prompt"):
        wording = str(settings.get(name) or "").strip()
        if wording and not _is_read(plan, wording):
            raise TaskError(
                f"{plan.name}: {name} of lmms_eval_specific_kwargs isn't in any prompt, as doc_to_text doesn't read "
                "it: leave it out, or give the task a doc_to_text of its own"
            )


def _is_read(plan: Plan, wording: str) -> bool:
    """Whether any row's prompt has it, as some ask one kind of question only so; True where one can't be told."""
    try:
        return any(wording in prompt_text(plan, row) for row in plan.task.eval_docs_no_media)
    except SampleError:  # such as of a function that reads pictures
        return True


def _check_rows(plan: Plan, scorer: Scorer, spec: RunSpec) -> None:
    """Scores empty answers, and makes a judge's prompts of others: what is wrong with a row, or missing beside
    it, shows before anything is answered."""
    scores = []
    for place, row in enumerate(islice(plan.task.eval_docs_no_media, plan.count)):
        try:
            scores.append(scorer.score(row, "", "strict", place))
            if scorer.judge is not None and spec.judge is not None:
                for replies in ((), ("?",)):  # some judges are asked twice, about other columns
                    scorer.judge.next_call(row, "?", replies)
        except TaskError as error:
            raise TaskError(f"{plan.name}, row {place}: {error}") from None
    try:
        scorer.aggregate(scores)
    except TaskError as error:
        fix = (
            ""
            if spec.limit is None
            else f"; --limit {spec.limit} leaves out what belongs together, give another number"
        )
        raise TaskError(f"{plan.name}: {error}{fix}") from None
