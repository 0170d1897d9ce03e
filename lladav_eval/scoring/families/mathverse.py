"""MathVerse.

Official source: ZrrSkywalker/MathVerse, evaluation/extract_answer_s1.py and score_answer_s2.py, with the settings of
the LLaDA-V authors' fork (last 30 words of the response): a judge extracts the answer, then judges whether it means
the same as the right one, 0 or 1; it is asked again until it says one of them. The judge is shown the column
``question``, as by the script, even where that is empty (vision-only); lmms-eval 0.7 shows ``question_for_eval``.
"""

from __future__ import annotations

from collections.abc import Sequence

from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.judging import Judge, JudgeCall, prompt_template, unsettled
from lladav_eval.scoring.mathematics import final_answer, math_equal
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, accuracy_by, empty, gold_letter, options_in, text_of, verdict

MOST_COMPARISONS = 5
"""Replies that are neither 0 nor 1 before an answer counts as unparsed; the script asks for ever."""
LAST_WORDS = 30
"""``trunk_response`` of the authors' mathverse.yaml."""
_LETTERS = ("ABCD", "ABCDE", "ABC", "AB")


def next_call(row: Row, prediction: str, replies: Sequence[str]) -> JudgeCall | None:
    """First the extraction of the answer, then its comparison, until a reply is 0 or 1."""
    if is_empty(prediction) or _judgement(replies) is not None or len(replies) > MOST_COMPARISONS:
        return None
    if not replies:
        response = " ".join(prediction.strip().split(" ")[-LAST_WORDS:])
        prompt = f"{prompt_template('mathverse_extract')}\n\nModel response: '{response}'\nExtracted Answer: "
        return JudgeCall("extract", prompt, 256)
    # The template also holds the doubled braces of the script's format string.
    prompt = prompt_template("mathverse_match").format(
        question=text_of(row, "question"), gt=text_of(row, "answer"), extraction=_extraction(replies)
    )
    return JudgeCall("match", prompt, 8)


def _extraction(replies: Sequence[str]) -> str:
    return replies[0].replace("Extracted Answer: ", "").strip()


def _judgement(replies: Sequence[str]) -> str | None:
    """The first comparison that says 0 or 1."""
    said = (reply.replace("Judgement:", "").strip() for reply in replies[1:])
    return next((reply for reply in said if reply in ("0", "1")), None)


def score_judged(row: Row, prediction: str, replies: Sequence[str], doc_id: int) -> Score:
    """The official score of a response, with the judge's replies."""
    details = {"version": text_of(row, "problem_version")}
    text_of(row, "answer"), text_of(row, "question_type")
    if is_empty(prediction):
        return empty(details)
    judgement = _judgement(replies)
    if judgement is None:
        return verdict(False, None, details) if len(replies) > MOST_COMPARISONS else unsettled(details)
    return verdict(judgement == "1", _extraction(replies), details)


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer. Under ``official``, with no judge, every answer waits."""
    if protocol == "official":
        return score_judged(row, prediction, (), doc_id)
    details = {"version": text_of(row, "problem_version")}
    answer = text_of(row, "answer").strip()
    if text_of(row, "question_type") == "multi-choice":
        # The rows of the vision-only version show the question in the picture and keep its text apart.
        texts = (text_of(row, "question"), str(row.get("question_for_eval") or ""))
        listed = next((found for text in texts for letters in _LETTERS if (found := options_in(text, letters))), None)
        gold = gold_letter(row, listed or "ABCDE")
        if is_empty(prediction):
            return empty(details)
        letter = extract_choice(prediction, listed or "ABCDE")
        return verdict(letter == gold, letter, details)
    if is_empty(prediction):
        return empty(details)
    said = final_answer(prediction)
    return verdict(said is not None and math_equal(said, answer), said, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions, and by problem version."""
    return accuracy_by(scores, "version")


SCORERS = {
    "mathverse": Scorer(
        "mathverse",
        ("question", "answer", "question_type", "problem_version"),
        score,
        aggregate,
        {"official": "accuracy", "strict": "accuracy"},
        optional=("question_for_eval",),
        identity="sample_index",
        judge=Judge("gpt-4o", next_call, score_judged),
    )
}
