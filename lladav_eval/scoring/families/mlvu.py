"""MLVU, the multiple-choice part of its dev set.

Official source: JUNJIE99/MLVU, evaluation/multiple_choice_evaluation/choice_bench.py: the character before the first
")" (the prompt ends in "Best option: ("), else the whole answer, must be the right letter; the score is the mean of the
accuracies of the tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import (
    Protocol,
    Row,
    empty,
    gold_letter,
    lettered,
    list_of,
    percent,
    percent_by,
    text_of,
    verdict,
)

TASKS = ("anomaly_reco", "count", "ego", "needle", "order", "plotQA", "topic_reasoning")


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    task = text_of(row, "task_type")
    if task not in TASKS:
        raise TaskError(f"the task_type {task!r} is none of {', '.join(TASKS)}")
    details = {"task": task}
    options = lettered(list_of(row, "candidates")) if row.get("candidates") else dict.fromkeys("ABCD", "")
    gold = gold_letter(row, options)
    if is_empty(prediction):
        return empty(details)
    if protocol == "strict":
        letter = extract_choice(prediction, options if row.get("candidates") else tuple(options))
        return verdict(letter == gold, letter, details)
    text = prediction.strip()
    before, bracket, _ = text.partition(")")
    said = before[-1:] if bracket else text
    return verdict(said == gold, said if said in options else None, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """``accuracy_macro``, the mean over the tasks that are there; ``accuracy`` over all questions, and by task."""
    by_task = percent_by(scores, "task")
    return {
        "accuracy_macro": sum(by_task.values()) / len(by_task) if by_task else percent(scores),
        "accuracy": percent(scores),
        **{f"accuracy_{name}": value for name, value in by_task.items()},
    }


def shares(scores: Sequence[Score]) -> list[float]:
    """Each answer's share in ``accuracy_macro``: the fewer questions its task has, the more it weighs."""
    sizes = Counter(item.details["task"] for item in scores)
    return [len(scores) * item.value / (len(sizes) * sizes[item.details["task"]]) for item in scores]


SCORERS = {
    "mlvu": Scorer(
        "mlvu",
        ("answer", "task_type"),
        score,
        aggregate,
        {"official": "accuracy_macro", "strict": "accuracy_macro"},
        shares,
        optional=("candidates",),
    )
}
