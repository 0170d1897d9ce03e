"""MMBench, its dev split and the circular variant.

Official source: MMBench's evaluation script (open-compass; in the LLaDA-V authors' fork mmbench_evals.py): exact
matching looks for the only option letter among the words of the answer, then for the only option whose content occurs
in it; what neither settles goes to a judge. Rows whose index is equal modulo 1,000,000 are one question with its
options rolled: it is right only if every roll is. (lmms-eval's data writes a missing option as the text "nan".)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.judging import Judge, JudgeCall, prompt_template, unsettled
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, empty, gold_letter, percent, seeded_guess, text_of, verdict

ROLL = 1_000_000
"""Distance between the indices of a question's rolls."""
MAX_REPLIES = 3
_SHAPES = (
    "{}.",
    "{},",
    "{}:",
    "{})",
    "{}).",
    "({})",
    "({}).",
    ":{}",
    ":{},",
    ":{}.",
    ":{})",
    ":{}).",
)
_REFUSAL = "Failed to obtain answer via API"


def _only(shape: str, words: Collection[str]) -> str | None:
    found = [letter for letter in "ABCDE" if shape.format(letter) in words]
    return found[0] if len(found) == 1 else None


def match_letter(text: str) -> str | None:
    """The option letter by exact matching; "A" among more than three words may be an article and doesn't count."""
    if _REFUSAL in text:
        return None
    words = frozenset(text.split())
    letter = _only("{}", words)
    if letter and not ("A" in words and len(text.split()) > 3):
        return letter
    return next((found for shape in _SHAPES if (found := _only(shape, words))), None)


def match_content(text: str, options: Mapping[str, str]) -> str | None:
    """The only option whose content occurs in the answer, in any case."""
    lowered = text.lower()
    found = [letter for letter, content in options.items() if content.lower() in lowered]
    return found[0] if len(found) == 1 else None


def match(text: str, options: Mapping[str, str]) -> str | None:
    """What the script infers from a text without a judge."""
    return match_letter(text) or match_content(text, options)


def options_of(row: Row) -> dict[str, str]:
    """The options that are there. Raises TaskError if there is none."""
    options = {}
    for letter in "ABCD":
        value = row.get(letter)
        # A missing option is null, not-a-number, "" or "nan", depending on who wrote the file.
        if value is not None and value == value and str(value) not in ("", "nan"):
            options[letter] = str(value)
    if not options:
        raise TaskError("the columns A to D hold no option")
    return options


def _index(row: Row) -> int:
    try:
        return int(float(text_of(row, "index")))
    except (ValueError, OverflowError):
        raise TaskError(f"the column 'index' must be a whole number, not {row['index']!r}") from None


def next_call(row: Row, prediction: str, replies: Sequence[str]) -> JudgeCall | None:
    """The question which option the answer means; asked up to three times until a reply can be read."""
    options = options_of(row)
    if is_empty(prediction) or match(prediction, options) or len(replies) >= MAX_REPLIES:
        return None
    if any(match(reply, options) for reply in replies):
        return None
    listed = "There are several options: \n" + "".join(f"{letter}. {text}\n" for letter, text in options.items())
    return JudgeCall(
        "choose", prompt_template("mmbench_choose").format(text_of(row, "question"), listed, prediction) + " ", 256
    )


def score_judged(row: Row, prediction: str, replies: Sequence[str], doc_id: int) -> Score:
    """The official score, with the judge's replies; after three that say nothing a letter (or E) is drawn."""
    options, index = options_of(row), _index(row)
    gold, details = gold_letter(row, options), {"index": index}
    if is_empty(prediction):
        return empty(details)
    for text in (prediction, *replies[:MAX_REPLIES]):
        letter = match(text, options)
        if letter is not None:
            return verdict(letter == gold, letter, details)
    if len(replies) < MAX_REPLIES:
        return unsettled(details)
    guess = seeded_guess("mmbench", str(index), "ABCDE")
    return Score(float(guess == gold), None, "unparsed", {**details, "guess": guess})


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer. Under ``official``, with no judge: exact matching, the others wait for the judge."""
    if protocol == "official":
        return score_judged(row, prediction, (), doc_id)
    options = options_of(row)
    gold, details = gold_letter(row, options), {"index": _index(row)}
    if is_empty(prediction):
        return empty(details)
    letter = extract_choice(prediction, options)
    return verdict(letter == gold, letter, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """``circular`` (right only if every roll is), ``first_roll_only``, and ``accuracy`` over all rows."""
    rolls: dict[int, list[Score]] = {}
    for item in scores:
        rolls.setdefault(item.details["index"] % ROLL, []).append(item)
    right = sum(all(roll.value == 1 for roll in question) for question in rolls.values())
    first = [item for item in scores if item.details["index"] < ROLL]
    accuracy = percent(scores)
    return {
        "circular": 100 * right / len(rolls),
        "first_roll_only": percent(first) if first else 0.0,
        "accuracy": accuracy,
    }


def shares(scores: Sequence[Score]) -> list[float]:
    """Each roll's share in ``circular``: an equal part of its question's, which is all or nothing."""
    rolls: dict[int, list[float]] = {}
    for item in scores:
        rolls.setdefault(item.details["index"] % ROLL, []).append(item.value)
    right = {question: min(values) == 1 for question, values in rolls.items()}

    def share(question: int) -> float:
        return len(scores) * right[question] / (len(rolls) * len(rolls[question]))

    return [share(item.details["index"] % ROLL) for item in scores]


def _scorer(family: str) -> Scorer:
    return Scorer(
        family,
        ("index", "answer", "A", "B", "C", "D"),
        score,
        aggregate,
        {"official": "circular", "strict": "circular"},
        shares,
        optional=("question",),
        identity="index",
        judge=Judge("gpt-3.5-turbo-0613", next_call, score_judged),
    )


SCORERS = {family: _scorer(family) for family in ("mmbench", "mmbench_circular")}
