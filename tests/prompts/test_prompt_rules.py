"""The prompt rules on hand-written rows, and against lmms-eval's own functions where both follow the same rule."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LETTER = "Answer with the option's letter from the given choices directly."
WORD = "Answer the question using a single word or phrase."

CASES: list[tuple[str, dict[str, Any], str]] = [
    (
        "mmmu",
        {"question": "See <image 1>.", "question_type": "multiple-choice", "options": "['<image 2>', '$\\\\pi$', 3]"},
        f"See <image 1>.\nA. <image 2>\nB. $\\pi$\nC. 3\n\n{LETTER}",
    ),
    ("mmmu", {"question": "Why? ", "question_type": "open", "options": "[]"}, f"Why? \n\n{WORD}"),
    ("mmmu", {"question": "Q", "question_type": "multiple-choice", "options": "[]"}, f"Q\n\n\n{LETTER}"),
    (
        "mmmu_pro",
        {"question": "Q", "options": '["a\'s", "b"]'},
        "Q\nA. a's\nB. b\n\nAnswer with the option letter from the given choices directly.",
    ),
    ("mmstar", {"question": " Q \n"}, f"Q\n{LETTER[:-1]}"),
    ("mmstar", {"question": "Is it? Please answer yes or no."}, f"Is it?\n{LETTER[:-1]}"),
    ("mme", {"question": "Is it? Please answer yes or no. "}, f"Is it?\n{WORD}"),
    (
        "seedbench",
        {"question": "Q", "choice_a": "1", "choice_b": "", "choice_c": "3 ", "choice_d": "{4}"},
        f"Q\nA. 1\nB. \nC. 3 \nD. {{4}}\n{LETTER}",
    ),
    (
        "mmbench",
        {"question": "Q", "hint": "nan", "A": "x", "B": "y", "C": "nan", "D": ""},
        f"Q There are several options:\nA. x\nB. y\n\n{LETTER}",
    ),
    (
        "mmbench",
        {"question": "Q", "hint": "H", "A": "x", "B": None, "C": "z\n", "D": float("nan")},
        f"H Q There are several options:\nA. x\nC. z\n\n{LETTER}",
    ),
    ("mmbench", {"question": "Q", "hint": "", "A": "x"}, f" Q There are several options:\nA. x\n\n{LETTER}"),
    ("mmbench", {"question": "Q", "hint": None, "E": "e"}, f"Q There are several options:\nE. e\n\n{LETTER}"),
    ("mathverse", {"query_wo": "no", "query_cot": "\nReason.\nQuestion: Q\n"}, "Reason.\nQuestion: Q"),
    ("ai2d", {"question": "Q", "options": ["a", "b"]}, f"Q\nA. a\nB. b\n{LETTER}"),
    ("chartqa", {"question": " Q "}, " Q \nAnswer the question with a single word."),
    (
        "infovqa",
        {"question": "Q?"},
        "Q?\nGive the reason and then write your final answer in the format 'Answer: X' where X is the answer to the "
        "question.",
    ),
    ("realworldqa", {"question": "Q\nA. a\n"}, "Q\nA. a"),
    ("muirbench", {"question": "<image> Q", "options": ["<image>", "b"]}, f"<image> Q\nA. <image>\nB. b\n{LETTER}"),
    ("mlvu", {"question": "Q\n(A) a"}, "Q\n(A) a\nOnly give the best option.\nBest option: ("),
    (
        "videomme",
        {"question": "Q", "options": ["A. a.", "B. b."]},
        "Select the best answer to the following multiple-choice question based on the video and the subtitles. "
        f"Respond with only the letter (A, B, C, or D) of the correct option.\nQ\nA. a.\nB. b.\n\n{LETTER}",
    ),
    (
        "mvbench",
        {"question": "Q", "candidates": ["a", "b"]},
        "Question:Q\nOption:\n(A) a\n(B) b\nOnly give the best option.\n",
    ),
    ("pope", {"question": "Is there?\n"}, f"Is there?\n{WORD}"),
    ("ocrbench", {"question": " Q "}, "Q"),
]


def doc_to_text(family: str) -> Callable[..., str]:
    function: Callable[..., str] = import_module(f"lladav_eval.prompts.{family}").doc_to_text
    return function


@pytest.mark.parametrize(("family", "row", "expected"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
def test_hand_written_rows(family: str, row: dict[str, Any], expected: str) -> None:
    before = copy.deepcopy(row)
    assert doc_to_text(family)(row) == expected
    assert doc_to_text(family)(row, {"pre_prompt": "unused"}) == expected
    assert repr(row) == repr(before)


@pytest.mark.parametrize(
    ("kind", "answer", "precision", "wanted"),
    [
        ("multi_choice", "text", None, "finally select the question from the choices in the following format: "),
        (
            "free_form",
            "integer",
            None,
            "requiring an integer answer and provide the final value, e.g., 1, 2, 3, at the",
        ),
        ("free_form", "float", 1.0, "with one decimal place and provide the final value, e.g., 1.2, 1.3, 1.4, at the"),
        (
            "free_form",
            "float",
            2,
            "with two decimal places and provide the final value, e.g., 1.23, 1.34, 1.45, at the",
        ),
        (
            "free_form",
            "list",
            None,
            "a Python list as an answer and provide the final list, e.g., [1, 2, 3], [1.2, 1.3,",
        ),
    ],
)
def test_mathvista_says_what_kind_of_answer_it_wants(
    kind: str, answer: str, precision: float | None, wanted: str
) -> None:
    row = {
        "question": "Q",
        "unit": "cm" if kind == "free_form" else None,
        "choices": ["x", "y"] if kind == "multi_choice" else None,
        "question_type": kind,
        "answer_type": answer,
        "precision": precision,
    }
    text = doc_to_text("mathvista")(row)
    head = "Question: Q\nChoices:\n(A) x\n(B) y\n" if kind == "multi_choice" else "Question: Q (Unit: cm)\n"
    assert text.startswith(head + "First perform reasoning, then finally ")
    assert wanted in text
    assert text.endswith("following format: Answer: xxx.\nIf it is hard to determine, give the closest answer.")


# Families whose rule is the same in lmms-eval 0.7.3: (its function, the kwargs of its YAML).
SAME = {
    "mmmu": (
        "mmmu_doc_to_text",
        {"prompt_type": "format", "multiple_choice_prompt": LETTER, "open_ended_prompt": WORD},
    ),
    "mmstar": ("mmstar_doc_to_text", {"pre_prompt": "", "post_prompt": "\n" + LETTER[:-1]}),
    "mmbench": ("mmbench_doc_to_text", {"pre_prompt": "", "post_prompt": "\n" + LETTER}),
    "mmmu_pro": ("mmmu_pro_doc_to_text", {"post_prompt": LETTER.replace("option's letter", "option letter")}),
    "ai2d": ("ai2d_doc_to_text", {"prompt_format": "mcq", "pre_prompt": "", "post_prompt": "\n" + LETTER}),
    "seedbench": ("seed_doc_to_text", None),
    "muirbench": ("muir_doc_to_text", {"pre_prompt": "", "post_prompt": "\n" + LETTER}),
    "videomme": ("videomme_doc_to_text", {"pre_prompt": "", "post_prompt": "\n" + LETTER}),
    "mlvu": ("mlvu_doc_to_text", {"post_prompt": "\nOnly give the best option.\nBest option: ("}),
    "mme": ("mme_doc_to_text", {"pre_prompt": "", "post_prompt": "\n" + WORD}),
    "realworldqa": ("realworldqa_doc_to_text", {"pre_prompt": "", "post_prompt": ""}),
    "chartqa": (
        "chartqa_doc_to_text",
        {"pre_prompt": "", "post_prompt": "\nAnswer the question with a single word."},
    ),
    "pope": ("pope_doc_to_text", {"pre_prompt": "", "post_prompt": "\n" + WORD}),
    "ocrbench": ("ocrbench_doc_to_text", {"pre_prompt": "", "post_prompt": ""}),
    "mvbench": ("mvbench_doc_to_text", {"post_prompt": "Only give the best option.\n"}),
}

FILES = {"mmbench": "en_utils.py"}

_text = st.lists(
    st.sampled_from(
        ["a", " ", "\n", "<image>", "<image 1>", " Please answer yes or no.", "{x}", "%s", "é", "nan", "\t"]
    ),
    max_size=6,
).map("".join)
_cell = st.one_of(_text, st.sampled_from([None, float("nan"), 0, 2.5]))
_rows = st.fixed_dictionaries(
    {
        "id": st.just("row"),
        "question": _text,
        "options": st.lists(_text, max_size=8),
        "candidates": st.lists(_text, max_size=8),
        **{f"choice_{letter}": _text for letter in "abcd"},
        "question_type": st.sampled_from(["multiple-choice", "open"]),
        "hint": _cell,
        **dict.fromkeys("ABCDE", _cell),
        **{column: st.just("x") for column in ("category", "L2-category", "index", "source", "split")},
    }
)


@pytest.fixture(scope="module")
def theirs() -> Callable[[str], Callable[[dict[str, Any]], str]]:
    """lmms-eval's function for a family, loaded from its file."""
    specification = importlib.util.find_spec("lmms_eval")
    assert specification is not None
    assert specification.origin is not None
    tasks = Path(specification.origin).parent / "tasks"

    def load(family: str) -> Callable[[dict[str, Any]], str]:
        name, kwargs = SAME[family]
        spec = importlib.util.spec_from_file_location(
            f"theirs_{family}", tasks / family / FILES.get(family, "utils.py")
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function = getattr(module, name)
        return lambda row: function(row) if kwargs is None else function(row, kwargs)

    return load


@pytest.mark.slow
@pytest.mark.parametrize("family", SAME)
def test_agrees_with_lmms_eval_on_any_row(
    family: str, theirs: Callable[[str], Callable[[dict[str, Any]], str]]
) -> None:
    function = theirs(family)

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(_rows)
    def check(row: dict[str, Any]) -> None:
        if family in ("mmmu", "mmmu_pro"):
            row = {**row, "options": repr(row["options"])}
        assert doc_to_text(family)(row) == function(row)

    check()
