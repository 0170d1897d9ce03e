"""``lladav-eval score``: figures as one JSON line, one line per error, exit codes, nothing heavy, nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lladav_eval.cli import main, score
from lladav_eval.cli.main import invoke

if not any(command.name == "score" for command in main.app.registered_commands):
    score.register(main.app)

FOLDERS = {
    "mmstar": "Lin-Chen/MMStar/val",
    "mmbench_circular": "lmms-lab-encoder/MMBench/en/dev_20230712_circular",
    "mathverse": "CaraJ/MathVerse-lmmseval/testmini_vision",
    "mathvista": "AI4Math/MathVista/testmini",
    "seedbench": "lmms-lab-encoder/SEED-Bench/test",
    "seedbench_image": "lmms-lab-encoder/SEED-Bench/test",
    "mmmu": "lmms-lab-encoder/MMMU/validation",
    "mme": "lmms-lab-encoder/MME/test",
}
STAR = [{"index": place, "question": "Which?", "answer": "AB"[place % 2], "category": "math"} for place in range(4)]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Writes rows and answers, runs the command on them, gives (exit code, last line of output, errors)."""

    def run(task: str, rows: list[Any], answers: list[Any] | str, *arguments: str) -> tuple[int, str, str]:
        data = tmp_path / "data" / f"{FOLDERS[task]}.jsonl"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        file = tmp_path / "answers.jsonl"
        if isinstance(answers, str):
            file.write_text(answers, encoding="utf-8")
        else:
            lines = [{"doc_id": place, "prediction": answer} for place, answer in enumerate(answers)]
            file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        before = sorted(tmp_path.rglob("*"))
        code = invoke(
            ["score", "--task", task, "--predictions", str(file), "--data", str(tmp_path / "data"), *arguments]
        )
        out, err = capsys.readouterr()
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        return code, (out.strip().splitlines() or [""])[-1], err

    return run


def test_the_last_line_is_the_result(call: Any) -> None:
    code, last, err = call("mmstar", STAR, ["A", "A", "", "Because"], "--json", "--protocol", "strict")
    assert (code, err) == (0, "")
    found = json.loads(last)
    assert found.pop("interval_95") == [pytest.approx(4.56, abs=0.01), pytest.approx(69.94, abs=0.01)]  # Wilson, 1 of 4
    assert found.pop("date").startswith("20")
    assert found.pop("data_revision").startswith("local:")
    assert set(found.pop("commit") or "0") <= set("0123456789abcdef+")
    assert found == {
        "task": "mmstar",
        "protocol": "strict",
        "n": 4,
        "scored": 2,
        "failed": 0,
        "unparsed": 1,
        "empty": 1,
        "metrics": {"accuracy": 25.0, "accuracy_math": 25.0},
        "headline": "accuracy",
        "notes": [],
    }
    assert json.loads(call("mmstar", STAR, ["A", "A", "", "Because"], "--json")[1])["metrics"]["accuracy"] == 50.0


def test_the_samples_of_a_run_are_scored_as_there(call: Any) -> None:
    line = {"task": "lladav_mmstar", "key": "k", "text": "A", "status": "scored"}
    failed = {**line, "doc_id": 2, "text": "", "status": "failed"}
    samples = [{**line, "doc_id": 0}, {**line, "doc_id": 1}, failed, {**line, "doc_id": 3, "text": "B"}]
    other = {**line, "doc_id": 0, "task": "lladav_mmmu"}
    text = "".join(json.dumps(sample) + "\n" for sample in (other, *samples))
    code, last, err = call("mmstar", STAR, text, "--json", "--protocol", "strict")
    assert (code, err) == (0, "")
    found = json.loads(last)
    assert (found["n"], found["scored"], found["failed"], found["empty"]) == (4, 3, 1, 0)
    assert found["metrics"]["accuracy"] == 50.0


@pytest.mark.parametrize(
    ("rows", "answers", "message"),
    [
        ([{**STAR[0], "answer": "E"}], ["A"], "val.jsonl, row 0 (line 1): the answer 'E' is outside the options ABCD"),
        ([STAR[0], STAR[0]], ["A", "A"], "row 1 (line 2): the index 0 is doubled"),
        ([], [], "the split Lin-Chen/MMStar:val has no rows"),
        ([{"index": 0, "question": "q", "category": "math"}], ["A"], "lacks the column 'answer'"),
        ([STAR[0], {"index": 1}], ["A", "B"], "row 1 (line 2): the column 'question' must be text, not empty"),
        ([STAR[0]], [], "1 of 1 rows have no prediction: doc_id 0"),
        ([STAR[0]], ["A", "B"], "line 2: doc_id 1 is unknown"),
        ([STAR[0]], '{"doc_id": 0, "predic', "line 1 is no JSON object (the file is cut off"),
        ([STAR[0]], [None], "'prediction' must be one text"),
    ],
)
def test_bad_input_is_one_line(call: Any, rows: list[Any], answers: Any, message: str) -> None:
    code, _, err = call("mmstar", rows, answers, "--json")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_options_that_do_not_parse(call: Any) -> None:
    row = {"id": "validation_Art_1", "options": "['a', 'b'", "answer": "A", "question_type": "multiple-choice"}
    code, _, err = call("mmmu", [row], ["A"])
    assert code == 2
    assert "validation.jsonl, row 0 (line 1): the column 'options' doesn't parse as a list" in err


def test_a_picture_with_one_question(call: Any) -> None:
    code, _, err = call("mme", [{"question_id": "a", "answer": "Yes", "category": "OCR"}], ["yes"])
    assert code == 2
    assert "two questions a picture" in err


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("nonsense", "unknown task"),
        ("paper", "is a group; score one task at a time: lladav_mmmu"),
        ("pocket", "is a group; `lladav-eval run --model replay:FILE` scores answers to its tasks"),
        ("pocket_digits", "no benchmark: `lladav-eval run --model replay:FILE`"),
    ],
)
def test_names_that_are_no_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, message: str
) -> None:
    assert invoke(["score", "--task", task, "--predictions", str(tmp_path / "x")]) == 2
    assert message in capsys.readouterr().err


def test_missing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["score", "--task", "mmstar", "--predictions", str(tmp_path / "x"), "--data", str(tmp_path)]) == 2
    assert "x: no such file; give a file of predictions: wanted is" in capsys.readouterr().err
    assert invoke(["score", "--task", "mmstar", "--predictions", str(tmp_path), "--data", str(tmp_path)]) == 2
    assert "a folder; give a file of predictions" in capsys.readouterr().err


def test_a_pipe_of_answers_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert invoke(["score", "--task", "mmstar", "--predictions", str(pipe), "--data", str(tmp_path)]) == 2
    assert "pipe: a pipe or a device, and answers are read twice; give a file" in capsys.readouterr().err


def test_nothing_is_broken_over_lines_or_lost_on_a_narrow_screen(
    call: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call("mmstar", STAR, ["A", "B", "A", "A"])
    monkeypatch.setenv("COLUMNS", "10")
    files = ["--predictions", str(tmp_path / "answers.jsonl"), "--data", str(tmp_path / "data")]
    assert invoke(["score", "--task", "mmstar", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mmstar, protocol official, n = 4, ")
    assert lines[0].endswith("+00:00")
    assert any("75.0000" in line and "30.1 to 95.4" in line for line in lines)


BENCH = [
    {"index": index, "question": "q", "answer": "A", "A": "red", "B": "blue", "C": "", "D": ""}
    for index in (1, 1000001, 2)
]


def test_a_split_under_its_local_name(call: Any) -> None:
    code, last, _ = call("mmbench_circular", BENCH, ["A", "B", "A"], "--json")
    result = json.loads(last)
    assert (code, result["headline"], result["metrics"]["circular"]) == (0, "circular", 50.0)
    assert result["metrics"]["first_roll_only"] == 100.0


def test_what_waits_for_a_judge_gets_no_official_figure(call: Any, tmp_path: Path) -> None:
    code, last, err = call("mmbench_circular", BENCH, ["A", "maybe", "A"], "--json")
    result = json.loads(last)
    assert "official column isn't filled: 1 of 3" in err
    assert (code, result["headline"], result["unparsed"]) == (0, "circular_exact_matching", 1)
    assert "circular" not in result["metrics"]
    replies = tmp_path / "replies.jsonl"
    replies.write_text('{"doc_id": 1, "replies": ["A"]}\n', encoding="utf-8")
    code, last, err = call("mmbench_circular", BENCH, ["A", "maybe", "A"], "--json", "--judge-replies", str(replies))
    assert (code, err, json.loads(last)["metrics"]["circular"]) == (0, "", 100.0)


def test_stored_extractions_of_mathvista(call: Any) -> None:
    row = {
        "pid": "1",
        "question_type": "free_form",
        "answer_type": "integer",
        "choices": None,
        "precision": None,
        "answer": "14",
    }
    code, last, err = call("mathvista", [row], ["14.0"], "--json")
    assert "taken as what the judge extracted" in err
    assert (code, json.loads(last)["metrics"]["accuracy"]) == (0, 100.0)
    # What a run has is what the model said.
    sample = {"task": "lladav_mathvista", "doc_id": 0, "key": "k", "text": "14 are there", "status": "scored"}
    code, last, err = call("mathvista", [row], json.dumps(sample) + "\n", "--json")
    assert "1 of 1 answers wait for a judge" in err
    assert (code, json.loads(last)["metrics"]) == (0, {})
    # With it what the run's judge said.
    judged = json.dumps({**sample, "judge_replies": ["14"]}) + "\n"
    other = json.dumps({**sample, "task": "lladav_mathverse", "judge_replies": ["15"]}) + "\n"
    code, last, err = call("mathvista", [row], other + judged, "--json")
    assert (code, err, json.loads(last)["metrics"]["accuracy"]) == (0, "", 100.0)


def test_only_the_rows_of_the_task(call: Any) -> None:
    rows = [{"answer": "A", "data_type": kind} for kind in ("image", "video", "image")]
    code, last, _ = call("seedbench_image", rows, ["A", "B"], "--json")
    assert (code, json.loads(last)["metrics"]) == (0, {"all": 50.0, "image": 50.0})


def test_rows_by_the_benchmarks_own_id(call: Any) -> None:
    rows = [{"question_id": name, "answer": "A", "data_type": "image"} for name in ("70", "12", "70")]
    lines = ['{"index": 12, "prediction": "B"}', '{"index": 70, "prediction": "A"}']  # as in VLMEvalKit's tables
    code, last, _ = call("seedbench", rows, "\n".join(lines), "--json")
    assert (code, json.loads(last)["metrics"]["all"]) == (0, pytest.approx(200 / 3))


def test_a_table_of_several_splits(call: Any) -> None:
    row = {"question_type": "multiple-choice", "options": "['x', 'y']", "answer": "A"}
    rows = [{**row, "id": f"validation_Art_{number}", "question": f"Which {number}?"} for number in range(2)]
    cells = [("dev", "Who?", "B"), ("validation", "Which 0?", "A"), ("validation", "Which 1?", "B")]
    lines = [
        json.dumps({"index": number + 150, "split": split, "question": question, "prediction": said})
        for number, (split, question, said) in enumerate(cells)
    ]
    code, last, _ = call("mmmu", rows, "\n".join(lines), "--json")
    assert (code, json.loads(last)["metrics"]["accuracy"]) == (0, 50.0)


def test_how_many_letters_were_drawn_is_told(call: Any) -> None:
    row = {"question_type": "multiple-choice", "options": "['x', 'y']", "answer": "A"}
    rows = [{**row, "id": f"validation_Art_{number}"} for number in range(9)]
    code, last, err = call("mmmu", rows, ["B"] + ["I can't tell"] * 8, "--json")
    result = json.loads(last)
    right = round(result["metrics"]["accuracy"] * 9 / 100)
    assert 0 < right < 8
    assert f"8 of 9 answers can't be read; as in the script a letter is drawn for each, {right} times the right" in err
    assert (code, len(result["notes"]), result["unparsed"]) == (0, 1, 8)
    assert call("mmmu", rows, ["B"] * 9, "--json")[2] == ""
    assert call("mmmu", rows, ["I can't tell"] * 9, "--json", "--protocol", "strict")[2] == ""


def test_a_large_task_is_light(tmp_path: Path) -> None:
    data = tmp_path / "data" / f"{FOLDERS['seedbench']}.jsonl"
    data.parent.mkdir(parents=True)
    image = {"bytes": "A" * 400}
    with data.open("w", encoding="utf-8") as file, (tmp_path / "answers.jsonl").open("w", encoding="utf-8") as answers:
        for place in range(17997):
            file.write(json.dumps({"answer": "ABCD"[place % 4], "data_type": "image", "image": image}) + "\n")
            answers.write(json.dumps({"doc_id": place, "prediction": "A"}) + "\n")
    code = (
        "import sys; from lladav_eval.cli import main, score\n"
        "if not any(c.name == 'score' for c in main.app.registered_commands): score.register(main.app)\n"
        f"code = main.invoke(['score', '--task', 'seedbench', '--predictions', {str(tmp_path / 'answers.jsonl')!r}, "
        f"'--data', {str(tmp_path / 'data')!r}, '--json'])\n"
        # This process's own peak: ru_maxrss also counts the one that started it.
        "import pathlib, resource; status = pathlib.Path('/proc/self/status')\n"
        "peak = int(status.read_text().split('VmHWM:')[1].split()[0]) / 1024 if status.exists() else "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2\n"
        "print(code, sorted({'torch', 'transformers', 'lmms_eval', 'datasets', 'PIL'} & set(sys.modules)))\n"
        "print(peak)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, last, modules, peak = run.stdout.splitlines()
    assert modules == "0 []"
    assert json.loads(last)["metrics"]["all"] == pytest.approx(100 * 4500 / 17997)
    assert float(peak) < 1536
