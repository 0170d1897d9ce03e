"""RealWorldQA.

The benchmark came without a script. Official here is the rule of lmms-eval 0.7 (its mcq_extract.py), which published
scores of this benchmark follow: the letter found in the most telling shape, of several in one shape the last; a right
answer that is no letter must be the whole answer. (The filter of the LLaDA-V authors' older fork loses "C. Yellow." and
the like whenever the option's text has punctuation: 49.80 instead of 53.46 on the same answers.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lladav_eval.records import Score
from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.exact import exact_match, extract_exact
from lladav_eval.scoring.extract import final_text, is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import LETTERS, Protocol, Row, empty, options_in, percent, text_of, verdict

_SHAPES = ((6, "({})"), (5, "{}."), (4, "{}:"), (3, "{})"), (2, "{} "))
"""(how telling, shape); below them any occurrence, above them an answer phrase (7), the end (9), the start (10)."""
_SAID = ("answer", "correct answer", "best answer", "correct option", "best option", "choice", "correct choice")
_PHRASES = (
    *(f"{article}{said} is" for said in _SAID for article in ("the ", "")),
    *("i choose", "i select", "i pick", "my answer is", "my choice is"),
    *("옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
)


def _mentions(text: str) -> Iterator[tuple[int, int, str]]:
    """(how telling, place, letter) of every reading; ``text`` has a space on either side."""
    for rank, shape in _SHAPES:
        for letter in "ABCD":
            if shape.format(letter) in text:
                yield rank, text.rfind(shape.format(letter)), letter
    lowered = text.lower()
    for phrase in _PHRASES:
        if phrase in lowered:
            after = lowered.find(phrase) + len(phrase)
            yield from ((7, place, letter) for letter in "ABCD" if (place := text.find(letter, after)) >= 0)
    inner = text.strip()
    for letter in "ABCD":
        if inner.startswith(letter) and not inner[1:2].isalpha():
            yield 10, 0, letter
        if inner.endswith(letter) and not inner[:-1][-1:].isalpha():
            yield 9, len(text) - 1, letter


def official_letter(text: str) -> str | None:
    """The letter A to D by lmms-eval's rule; None if none occurs."""
    text = text.strip()
    for character in ",.!?;:'\"":
        text = text.strip(character)
    text = f" {text} "
    found = list(_mentions(text)) or [(0, text.rfind(letter), letter) for letter in "ABCD" if letter in text]
    return max(found, key=lambda mention: mention[:2])[2] if found else None


def _strict(question: str, gold: str, text: str) -> tuple[bool, str | None]:
    listed = next((found for count in range(2, 7) if (found := options_in(question, LETTERS[:count]))), None)
    if listed is None:
        if gold in LETTERS:
            letter = extract_choice(text, "ABCD")
            return letter == gold, letter
        return exact_match(final_text(text), gold), extract_exact(final_text(text))
    letter = extract_choice(text, listed)
    # One published row has the right option's text as its answer instead of its letter.
    return letter is not None and gold in (letter, listed[letter]), letter


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    question, gold = text_of(row, "question"), text_of(row, "answer").strip()
    if is_empty(prediction):
        return empty()
    if protocol == "strict":
        return verdict(*_strict(question, gold, prediction))
    if gold.upper() in ("A", "B", "C", "D"):
        letter = official_letter(prediction)
        return verdict(letter == gold.upper(), letter)
    said = prediction.lower().strip().rstrip(".")
    return verdict(said == gold.lower(), said)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """Accuracy over all questions."""
    return {"accuracy": percent(scores)}


SCORERS = {
    "realworldqa": Scorer(
        "realworldqa", ("question", "answer"), score, aggregate, {"official": "accuracy", "strict": "accuracy"}
    )
}
