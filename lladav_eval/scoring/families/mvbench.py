"""MVBench and its 20 subtasks.

Official source: OpenGVLab/Ask-Anything, video_chat2/mvbench.ipynb: infer_mvbench keeps the first line of an answer;
check_ans wants its first word, in lower case and without full stops, to be part of the right option's label "(a)", or
to contain it. A first word without any letter would be part of every label; it is unparsed here. Of two options
with the right text the script's label is the last one's (strict takes either). The score of the group is the mean over
the subtasks.
"""

from __future__ import annotations

from collections.abc import Sequence

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, empty, lettered, list_of, percent, text_of, verdict


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    options = lettered(list_of(row, "candidates"))
    answer = text_of(row, "answer")
    right = [letter for letter, content in options.items() if content == answer]
    if not right:
        raise TaskError(f"the answer {answer!r} is outside the candidates {list(options.values())}")
    if is_empty(prediction):
        return empty()
    if protocol == "strict":
        letter = extract_choice(prediction, options)
        return verdict(letter in right, letter)
    word = prediction.strip().split("\n")[0].lower().split(" ")[0]
    label = f"({right[-1].lower()})"
    if not any(character.isalnum() for character in word):
        return verdict(0, None)
    said = next((letter for letter in options if word.replace(".", "") in f"({letter.lower()})"), None)
    said = said or next((letter for letter in options if f"({letter.lower()})" in word), None)
    return verdict(word.replace(".", "") in label or label in word, said)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions of a subtask."""
    return {"accuracy": percent(scores)}


SCORERS = {
    "mvbench": Scorer(
        "mvbench", ("candidates", "answer"), score, aggregate, {"official": "accuracy", "strict": "accuracy"}
    )
}
