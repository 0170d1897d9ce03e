"""One made-up row per family, with an answer that both protocols count as right and one that both count as wrong."""

from __future__ import annotations

from typing import Any

OPTIONS = {"A": "red", "B": "dark blue", "C": "a cat", "D": "7"}
CONTENTS = list(OPTIONS.values())

ROWS: dict[str, dict[str, Any]] = {
    "mmmu": {"id": "validation_Art_1", "options": str(CONTENTS), "answer": "B", "question_type": "multiple-choice"},
    "mmmu_pro_standard": {"id": "test_Art_1", "options": str(CONTENTS), "answer": "B", "subject": "Art"},
    "mmmu_pro_vision": {"id": "test_Art_2", "options": str(CONTENTS), "answer": "B", "subject": "Art"},
    "muirbench": {"idx": "3", "options": CONTENTS, "answer": "B", "task": "Counting", "question": "Which?"},
    "mmstar": {"question": "Which?", "answer": "B", "category": "math", "index": 5},
    "mme": {"question_id": "a.png", "answer": "Yes", "category": "color"},
    "seedbench": {"answer": "B", "data_type": "image"},
    "mmbench": {"index": 7, "question": "Which", "answer": "B", **OPTIONS},
    "mmbench_circular": {"index": 1000007, "question": "Which", "answer": "B", **OPTIONS},
    "mathverse": {
        "question": "How long?",
        "answer": "2\\sqrt{3}",
        "question_type": "free-form",
        "problem_version": "Vision Only",
        "sample_index": "1",
    },
    "mathvista": {
        "pid": "1",
        "question_type": "free_form",
        "answer_type": "integer",
        "choices": None,
        "precision": None,
        "answer": "14",
        "query": "Hint: ... Question: How many?",
    },
    "ai2d": {"options": CONTENTS, "answer": "1"},
    "realworldqa": {"question": "Which?\n\nA. red\nB. dark blue\nC. a cat\nPlease answer.", "answer": "B"},
    "chartqa": {"type": "human_test", "answer": "1.5"},
    "docvqa": {"questionId": "1", "answers": ["dark blue", "the dark blue"]},
    "infovqa": {"questionId": "2", "answers": ["dark blue"]},
    "mlvu": {"answer": "B", "task_type": "ego", "candidates": CONTENTS, "question": "Which?"},
    "videomme": {
        "question_id": "001-1",
        "options": ["A. red", "B. dark blue", "C. a cat", "D. 7"],
        "answer": "B",
        "duration": "short",
    },
    "mvbench": {"candidates": CONTENTS, "answer": "dark blue"},
    "pope": {"id": "0", "answer": "yes", "category": "random"},
    "ocrbench": {"dataset": "svt", "question_type": "Regular Text Recognition", "answer": ["CENTRE"]},
}
RIGHT = dict.fromkeys(ROWS, "B") | {
    "mme": "Yes",
    "mathverse": "2√3",
    "mathvista": "14",
    "chartqa": "1.5",
    "docvqa": "dark blue",
    "infovqa": "dark blue",
    "pope": "Yes",
    "ocrbench": "centre",
}
WRONG = dict.fromkeys(ROWS, "C") | {
    "mme": "No",
    "mathverse": "5",
    "mathvista": "15",
    "chartqa": "3",
    "docvqa": "green",
    "infovqa": "green",
    "pope": "No",
    "ocrbench": "theatre",
}
JUDGED = {"mathverse"}
"""Families whose official protocol settles nothing without a judge."""
