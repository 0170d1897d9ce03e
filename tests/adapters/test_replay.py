"""Recorded answers as a model: right answers to the right questions, failures told, bad files refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lladav_eval.adapters.replay import ReplayAnswerer
from lladav_eval.cli.main import invoke
from lladav_eval.errors import UsageError
from lladav_eval.records import Answerer, Question, Request, SamplingParams

PARAMS = SamplingParams(gen_length=2, block_length=2, steps=2)


def recorded(tmp_path: Path, *values: Any) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values))
    return path


def ask(doc_id: int, task: str = "lladav_mmmu") -> Question:
    return Question(task, doc_id, Request("?"), PARAMS)


def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    path = recorded(
        tmp_path,
        {"doc_id": 2, "prediction": "B"},
        {"doc_id": 0, "prediction": ""},
        {"doc_id": 1, "prediction": "é\n", "other": 1},
    )
    model: Answerer = ReplayAnswerer(path)
    answers = model.answer([ask(1), ask(0), ask(2)])
    assert [(answer.text, answer.status) for answer in answers] == [("é\n", "ok"), ("", "ok"), ("B", "ok")]
    assert model.name == "replay:answers.jsonl"
    assert model.description()["answers"] == 3


def test_a_question_without_an_answer_fails_with_the_reason(tmp_path: Path) -> None:
    model = ReplayAnswerer(recorded(tmp_path, {"doc_id": 0, "prediction": "A"}))
    good, bad = model.answer([ask(0), ask(7)])
    assert good.status == "ok"
    assert (bad.status, bad.stop_reason, bad.text) == ("failed", "failed", "")
    assert bad.error == "no answer recorded for lladav_mmmu, doc_id 7 in answers.jsonl"


def test_samples_of_a_run_are_recorded_answers(tmp_path: Path) -> None:
    line = {"task": "lladav_mmmu", "key": "k", "text": "A", "status": "scored", "error": None}
    path = recorded(tmp_path, {**line, "doc_id": 0}, {**line, "doc_id": 1, "status": "failed", "text": ""})
    good, bad = ReplayAnswerer(path).answer([ask(0), ask(1)])
    assert (good.text, bad.status) == ("A", "failed")


def test_samples_of_lmms_eval_are_recorded_answers(tmp_path: Path) -> None:
    path = recorded(tmp_path, {"doc_id": 0, "resps": [["A"]], "filtered_resps": ["B"], "target": "C"})
    assert ReplayAnswerer(path).answer([ask(0)])[0].text == "A"


def test_answers_of_several_tasks(tmp_path: Path) -> None:
    path = recorded(
        tmp_path,
        {"task": "mmmu", "doc_id": 0, "prediction": "A"},
        {"task": "lladav_chartqa", "doc_id": 0, "prediction": "12"},
    )
    model = ReplayAnswerer(path)
    answers = model.answer([ask(0, "lladav_chartqa"), ask(0), ask(0, "lladav_pope")])
    assert [answer.text for answer in answers] == ["12", "A", ""]
    assert answers[2].status == "failed"


def test_a_file_without_tasks_serves_one_task_only(tmp_path: Path) -> None:
    model = ReplayAnswerer(recorded(tmp_path, {"doc_id": 0, "prediction": "A"}))
    model.answer([ask(0)])
    with pytest.raises(UsageError, match=r"doesn't say which task .* both lladav_mmmu and lladav_pope are asked"):
        model.answer([ask(0, "lladav_pope")])


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    path = recorded(tmp_path, {"doc_id": 0, "prediction": "A"})
    first = ReplayAnswerer(path).fingerprint
    moved = tmp_path / "moved.jsonl"
    path.rename(moved)
    assert ReplayAnswerer(moved).fingerprint == first
    assert ReplayAnswerer(recorded(tmp_path, {"doc_id": 0, "prediction": "B"})).fingerprint != first


def test_doubled_ids_are_named(tmp_path: Path) -> None:
    values = [{"doc_id": index, "prediction": "A"} for index in (0, 3, 3, 5, 5, 5, 1)]
    with pytest.raises(UsageError, match=r"answers\.jsonl has more than one answer for doc_id 3, 5, 5: keep one each"):
        ReplayAnswerer(recorded(tmp_path, *values))
    values = [{"doc_id": 1, "prediction": "A", "task": task} for task in ("mmmu", "pope", "lladav_pope")]
    with pytest.raises(UsageError, match="doc_id 1 of pope"):
        ReplayAnswerer(recorded(tmp_path, *values))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"doc_id": 1, "predic', "line 2 is no JSON object"),
        ("", "line 2 is no JSON object"),
        ("[]", "line 2 is no JSON object but list"),
        ('{"prediction": "A"}', "line 2: 'doc_id' must be the row's position .* not None"),
        ('{"doc_id": "1", "prediction": "A"}', "line 2: 'doc_id' must be"),
        ('{"doc_id": true, "prediction": "A"}', "line 2: 'doc_id' must be"),
        ('{"doc_id": -1, "prediction": "A"}', "line 2: 'doc_id' must be"),
        ('{"doc_id": 1, "prediction": null}', "line 2: 'prediction' must be one text, not null"),
        ('{"doc_id": 1}', "line 2 has no 'prediction'"),
        ('{"doc_id": 1, "text": "Which colour?", "status": "scored"}', "line 2 has no 'prediction'"),
        ('{"doc_id": 1, "prediction": "A", "task": 3}', "line 2: task must be a name"),
        ('{"doc_id": 1, "prediction": "A", "task": "mmmu"}', 'only some lines have a "task"'),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        ReplayAnswerer(recorded(tmp_path, {"doc_id": 0, "prediction": "A"}, line))
    assert "answers.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        ReplayAnswerer(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="has no answers"):
        ReplayAnswerer(recorded(tmp_path))


def test_several_tasks_of_a_file_that_names_none_are_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However the questions are shared out: a resumed run or a worker may see one task only."""
    file = tmp_path / "answers.jsonl"
    file.write_text('{"doc_id": 0, "prediction": "yes"}\n')
    asked = ["--task", "pocket_yesno,pocket_choice", "--model", f"replay:{file}", "--limit", "1"]
    assert invoke(["run", *asked, "--out", str(tmp_path / "run")]) == 2
    assert "doesn't say which task its answers are for" in capsys.readouterr().err
