"""MME.

Official source: eval_tool/calculation.py of MME: yes or no is looked for in the first four characters of the lower-case
answer (trimmed, as in the authors' fork); every picture has two questions; a category's score is accuracy plus
accuracy+ (both questions of a picture right), each on 0-100; perception is the sum of ten categories (at most 2000),
cognition of four (at most 800).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring.extract import is_empty
from lladav_eval.scoring.registry import Scorer
from lladav_eval.scoring.rows import Protocol, Row, empty, text_of, verdict
from lladav_eval.scoring.yes_no import extract_yes_no

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


def _official(text: str) -> str | None:
    start = text.strip().lower()[:4]
    return "yes" if "yes" in start else "no" if "no" in start else None


def score(row: Row, prediction: str, protocol: Protocol, doc_id: int) -> Score:
    """One answer."""
    gold = text_of(row, "answer").strip().lower()
    if gold not in ("yes", "no"):
        raise TaskError(f"the answer {gold!r} must be yes or no")
    category = text_of(row, "category")
    if category not in PERCEPTION and category not in COGNITION:
        raise TaskError(f"the category {category!r} is none of MME's: {', '.join((*PERCEPTION, *COGNITION))}")
    details = {"category": category, "picture": text_of(row, "question_id")}
    if is_empty(prediction):
        return empty(details)
    answer = _official(prediction) if protocol == "official" else extract_yes_no(prediction)
    return verdict(answer == gold, answer, details)


def aggregate(scores: Sequence[Score]) -> dict[str, float]:
    """``perception`` and ``cognition``, their sum ``total``, and each category.

    Raises TaskError if a picture has another number of answers than two.
    """
    pictures: dict[str, dict[str, list[float]]] = {}
    for item in scores:
        pictures.setdefault(item.details["category"], {}).setdefault(item.details["picture"], []).append(item.value)
    categories = {}
    for category, answers in pictures.items():
        for picture, values in answers.items():
            if len(values) != 2:
                raise TaskError(f"MME asks two questions a picture; {category} {picture} has {len(values)}")
        right = sum(sum(values) for values in answers.values())
        both = sum(sum(values) == 2 for values in answers.values())
        categories[category] = 100 * right / (2 * len(answers)) + 100 * both / len(answers)
    perception = sum(categories.get(name, 0.0) for name in PERCEPTION)
    cognition = sum(categories.get(name, 0.0) for name in COGNITION)
    return {"total": perception + cognition, "perception": perception, "cognition": cognition, **categories}


def shares(scores: Sequence[Score]) -> list[float]:
    """Each answer's share in ``total``: half of what its picture adds to its category."""
    pictures: dict[tuple[str, str], float] = {}
    for item in scores:
        picture = item.details["category"], item.details["picture"]
        pictures[picture] = pictures.get(picture, 0.0) + item.value
    sizes = Counter(category for category, _ in pictures)

    def added(category: str, picture: str) -> float:
        right = pictures[category, picture]
        return (50 * right + 100 * (right == 2)) / sizes[category]

    return [len(scores) / 2 * added(item.details["category"], item.details["picture"]) for item in scores]


SCORERS = {
    "mme": Scorer(
        "mme",
        ("question_id", "answer", "category"),
        score,
        aggregate,
        {"official": "total", "strict": "total"},
        shares,
        points=True,
    )
}
