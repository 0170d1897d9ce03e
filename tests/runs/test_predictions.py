"""Files of recorded answers: what tools and benchmarks write, and one clear line for whatever is wrong."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from lladav_eval.errors import UsageError
from lladav_eval.runs.predictions import read_predictions, read_replies


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def table(path: Path, rows: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(path)
    return path


def test_our_lines_in_any_order(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [{"doc_id": 1, "prediction": "x\ny"}, {"doc_id": 0, "prediction": ""}])
    assert read_predictions(file, 2) == ["", "x\ny"]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"doc_id": 0, "prediction": "x"}\n')
    assert read_predictions(file, 1) == ["x"]


@pytest.mark.parametrize(
    "line",
    [
        {"doc_id": 0, "resps": [["raw"]], "filtered_resps": ["cut"], "target": "x"},
        {"doc_id": 0, "resps": ["raw"], "filtered_resps": "cut"},
        {"doc_id": 0, "filtered_resps": ["raw"]},
    ],
)
def test_samples_of_lmms_eval(tmp_path: Path, line: dict[str, Any]) -> None:
    assert read_predictions(write(tmp_path / "x_samples_y.jsonl", [line]), 1) == ["raw"]


def test_tables_of_vlmevalkit(tmp_path: Path) -> None:
    rows = [["index", "question", "prediction"], [7, "q", 5], [3, "q", None], ["9", "q", 2.5], [None, None, None]]
    file = table(tmp_path / "a.xlsx", rows)
    assert read_predictions(file, 3, {"index": [3, 7, 9]}) == ["", "5", "2.5"]
    rows[1][0], rows[2][0], rows[3][0] = 1, 0, 2.0
    assert read_predictions(table(tmp_path / "b.xlsx", rows), 3) == ["", "5", "2.5"]


def test_tables_as_text_and_as_json(tmp_path: Path) -> None:
    said = ['a "b"', "1,5\tx\ny", "", "=A"]
    for name, comma in (("a.tsv", "\t"), ("a.csv", ",")):
        with (tmp_path / name).open("w", encoding="utf-8-sig", newline="") as file:
            rows = csv.writer(file, delimiter=comma, quoting=csv.QUOTE_ALL)
            rows.writerows([["index", "question", "prediction"], *([row, "q", text] for row, text in enumerate(said))])
        assert read_predictions(tmp_path / name, 4) == said
    records = [{"index": row, "prediction": text} for row, text in enumerate(["a", 5, float("nan"), 2.0])]
    (tmp_path / "a.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    assert read_predictions(tmp_path / "a.json", 4) == ["a", "5", "", "2"]


QUESTIONS = ["Who? Look.", "When?", "Where?"]


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        ([1, 2, 3], {"question": QUESTIONS}),  # VLMEvalKit's ChartQA
        ([387, 389, 388], {"question": QUESTIONS}),  # its MMMU goes on from another split
        ([9, 7, 8], {"question_id": ["9", "7", "8"]}),  # its SEED-Bench
    ],
)
def test_what_the_index_of_a_table_stands_for(tmp_path: Path, index: list[int], columns: dict[str, Any]) -> None:
    cells = [[place, asked, said] for place, asked, said in zip(index, QUESTIONS, "xyz", strict=True)]
    file = table(tmp_path / "a.xlsx", [["index", "question", "prediction"], *cells])
    assert read_predictions(file, 3, columns, named="question_id") == ["x", "y", "z"]


def test_positions_that_fit_come_before_the_order(tmp_path: Path) -> None:
    cells = [[place, "What?", said] for place, said in zip((2, 0, 1), "xyz", strict=True)]
    file = table(tmp_path / "a.xlsx", [["index", "question", "prediction"], *cells])
    assert read_predictions(file, 3, {"question": ["What?"] * 3, "id": [0, 2, 1]}, named="id") == ["y", "z", "x"]


def test_rows_of_another_split_are_passed_over(tmp_path: Path) -> None:
    rows = [[1, "dev", "How?", "n"], [2, "validation", "Who? Look.", "x"], [3, "validation", "When?", "y"]]
    file = table(tmp_path / "a.xlsx", [["index", "split", "question", "prediction"], *rows])
    assert read_predictions(file, 2, {"question": QUESTIONS[:2]}, split="validation") == ["x", "y"]
    with pytest.raises(UsageError, match="row 2: it answers row 1 of the split"):
        read_predictions(file, 3, {"question": ["How?", "What?", "Why?"]}, split="test")  # no cell names it


def test_a_question_that_is_there_twice_has_one_answer(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [{"question_id": "7", "prediction": "x"}, {"question_id": 9, "prediction": "y"}])
    assert read_predictions(file, 3, {"question_id": ["7", "9", "7"]}, named="question_id") == ["x", "y", "x"]


@pytest.mark.parametrize(
    ("named", "content"),
    [
        ("id", [{"id": "b", "response": "y", "answer": "B"}, {"id": "a", "response": "x", "answer": "A"}]),  # MMMU-Pro
        ("id", {"b": "y", "a": "x"}),  # MMMU
        ("pid", {"b": {"pid": "b", "response": "It is y", "extraction": "y", "prediction": None}}  # MathVista
         | {"a": {"pid": "a", "response": "x"}}),
        ("questionId", [{"questionId": "a", "answer": "x"}, {"questionId": "b", "answer": "y"}]),  # DocVQA
        ("question_id", [{"video_id": "1", "questions": [{"question_id": "a", "response": "x"}]},  # Video-MME
                         {"video_id": "2", "questions": [{"question_id": "b", "response": "y"}]}]),
    ],
)  # fmt: skip
def test_what_benchmarks_themselves_write(tmp_path: Path, named: str, content: Any) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")
    columns = {named: ["a", "b"], "answer": ["A", "B"]}
    assert read_predictions(file, 2, columns, named=named) == ["x", "y"]
    with pytest.raises(UsageError, match=rf"answer [12]: {named} 'b' is unknown"):
        read_predictions(file, 2, {named: ["a", "c"]}, named=named)


def test_older_logs_of_lmms_eval_and_lines_called_json(tmp_path: Path) -> None:
    line = {"doc_id": 0, "doc": {}, "target": "x", "resps": [["raw"]], "filtered_resps": ["cut"]}
    file = tmp_path / "mme.json"
    file.write_text(json.dumps({"args": {}, "logs": [line]}), encoding="utf-8")
    assert read_predictions(file, 1) == ["raw"]
    assert read_predictions(write(file, [line, {**line, "doc_id": 1}]), 2) == ["raw", "raw"]
    assert read_predictions(write(file, [line]), 1) == ["raw"]


def test_samples_of_rows_in_another_order_are_refused(tmp_path: Path) -> None:
    lines = [
        {"doc_id": row, "target": "Yes", "filtered_resps": "No", "input": f"{asked}\nOne word."}
        for row, asked in enumerate(["Is it red?", "Is it blue?", "Is it (odd)? See."])
    ]
    file = write(tmp_path / "samples_mme.jsonl", lines)
    own = ["Is it red? Please answer.", "Is it  blue? Please answer.", "Is it (ODD)? Please answer."]
    assert read_predictions(file, 3, {"question": own, "answer": ["Yes"] * 3}) == ["No"] * 3
    assert read_predictions(file, 3, {"question": ["Other?", "words?", "here?"]}) == ["No"] * 3
    silent = [{"doc_id": row, "prediction": "x"} for row in range(2)]
    assert read_predictions(write(tmp_path / "a.jsonl", silent), 2, {"question": ["Who?", ""]}) == ["x", "x"]
    with pytest.raises(UsageError, match=r"line 2: it answers row 1 of the split, .* that of row 2: .* another order"):
        read_predictions(file, 3, {"question": [own[0], own[2], own[1]]})
    older = [{**line, "input": [], "doc": {"question": asked}} for line, asked in zip(lines, own, strict=True)]
    with pytest.raises(UsageError, match=r"line 2: it answers row 1 of the split"):
        read_predictions(write(file, older), 3, {"question": [own[0], own[2], own[1]]})


def test_right_answers_of_other_rows_are_refused(tmp_path: Path) -> None:
    golds = list("ABCDABCDABCDABCDABCD")
    file = write(tmp_path / "a.jsonl", [{"doc_id": i, "prediction": "A", "target": x} for i, x in enumerate(golds)])
    mended = [*"BA", *golds[2:]]
    assert read_predictions(file, 20, {"answer": mended}) == ["A"] * 20  # a tenth may have been mended
    assert read_predictions(file, 20, {"answer": ["the right one"] * 20}) == ["A"] * 20  # written in another way
    moved = {"answer": [*golds[1:], golds[0]]}
    with pytest.raises(UsageError, match=r"line 1: .* 'a', that of row 0 of the split is 'b' \(20 of 20 differ\)"):
        read_predictions(file, 20, moved)
    lines = [{"index": place, "prediction": "A", "answer": gold} for place, gold in enumerate(golds)]
    with pytest.raises(UsageError, match=r"\(20 of 20 differ\)"):
        read_predictions(write(file, lines), 20, moved)
    lines = [{"doc_id": place, "prediction": "A", "answer": gold} for place, gold in enumerate(golds)]
    assert read_predictions(write(file, lines), 20, moved) == ["A"] * 20  # it may be what the model said


def edited(path: Path, member: str, pattern: bytes, new: bytes) -> Path:
    """The table with other bytes in one of its files."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    contents[member], changed = re.subn(pattern, new, contents[member])
    assert changed
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return path


SHEET, BOOK, EMPTY = "xl/worksheets/sheet1.xml", "xl/workbook.xml", b"<v ?/>|<v></v>"


def test_answers_that_begin_like_a_formula_are_text(tmp_path: Path) -> None:
    rows = [["index", "prediction"], [0, "=A"], [1, "= 12 (so B)"], [2, "=SUM(1,2)"]]
    expected = ["=A", "= 12 (so B)", "=SUM(1,2)"]
    assert read_predictions(table(tmp_path / "a.xlsx", rows), 3) == expected
    with_zeros = edited(table(tmp_path / "b.xlsx", rows), SHEET, EMPTY, b"<v>0</v>")  # as XlsxWriter does
    assert read_predictions(with_zeros, 3) == expected


def test_control_characters_of_a_table_are_what_was_said(tmp_path: Path) -> None:
    file = table(tmp_path / "a.xlsx", [["index", "prediction"], [0, "14_x000D_\nso"], [1, "_x_ _xyz_"]])
    assert read_predictions(file, 2) == ["14\r\nso", "_x_ _xyz_"]


def test_a_formula_that_was_calculated_is_refused(tmp_path: Path) -> None:
    file = table(tmp_path / "a.xlsx", [["index", "prediction"], [0, "A"], [1, "=TRIM(C2)"]])
    edited(edited(file, BOOK, b' fullCalcOnLoad="1"', b""), SHEET, EMPTY, b"<v>7</v>")
    with pytest.raises(UsageError, match=r"row 3: the prediction is a formula with the value '7', .* JSON lines"):
        read_predictions(file, 2)


def test_an_index_may_be_calculated(tmp_path: Path) -> None:
    file = table(tmp_path / "a.xlsx", [["index", "prediction"], [1, "x"], ["=ROW()-3", "y"]])
    edited(edited(file, BOOK, b' fullCalcOnLoad="1"', b""), SHEET, EMPTY, b"<v>0</v>")
    assert read_predictions(file, 2) == ["y", "x"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"doc_id": 0, "prediction": "x"}], "a.jsonl: 1 of 2 rows have no prediction: doc_id 1"),
        ([{"doc_id": 0, "prediction": "x"}] * 2, "line 2: doc_id 0 is there twice"),
        ([{"doc_id": 5, "prediction": "x"}], "line 1: doc_id 5 is unknown, the split has rows 0 to 1"),
        ([{"doc_id": -1, "prediction": "x"}], "'doc_id' must be the row's position (0, 1, ...), not -1"),
        ([{"doc_id": "0", "prediction": "x"}], "'doc_id' must be the row's position"),
        ([{"doc_id": True, "prediction": "x"}], "'doc_id' must be the row's position"),
        ([{"prediction": "x"}], "'doc_id' must be the row's position"),
        ([{"doc_id": 0, "prediction": 5}], "'prediction' must be one text, not 5"),
        ([{"doc_id": 0, "prediction": ["x"]}], "'prediction' must be one text"),
        ([{"doc_id": 0, "resps": [["x", "y"]]}], "'resps' must be one text"),
        ([{"doc_id": 0, "text": "x"}], "line 1 has no 'prediction'"),
        ([[0, "x"]], "line 1 is no JSON object but list"),
        ([], "2 of 2 rows have no prediction: doc_id 0, 1"),
        ([{"id": "a"}], "line 1 has no 'prediction', it has: id; wanted is"),
        ([{"id": "a", "prediction": "x"}] * 2, "line 2: id 'a' is there twice"),
        ([{"id": "a", "response": {"error": 1}}], "line 1: 'response' must be one text"),
        ([{"index": 0, "prediction": ["x"]}], "line 1: 'prediction' must be one text"),
        ([{"index": 0}], "line 1: 'prediction' must be one text, not null"),
        (
            [{"question_id": 1, "text": "x"}],
            "line 1: 'doc_id' must be the row's position (0, 1, ...), not None; wanted is",
        ),
    ],
)
def test_wrong_lines(tmp_path: Path, lines: list[Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_predictions(write(tmp_path / "a.jsonl", lines), 2, {"id": ["a", "b"]}, named="id")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [b'{"doc_id": 1, "predi', b'{"doc_id": 1, "prediction": "\xe2\x82'])
def test_a_file_cut_in_the_middle_of_a_line(tmp_path: Path, cut: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"doc_id": 0, "prediction": "x"}\n' + cut)
    with pytest.raises(UsageError, match=r"a\.jsonl, line 2 is no JSON object \(the file is cut off"):
        read_predictions(file, 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "columns 'index' and 'prediction'"),
        ([["index", "answer"], [0, "x"]], "columns 'index' and 'prediction'"),
        ([["index", "prediction"], [4, "x"]], "row 2: index '4' is unknown"),
        ([["index", "prediction"], [3, "x"], [3, "y"]], "row 3: doc_id 0 is there twice"),
        ([["index", "prediction"], [3, "x"]], "1 of 2 rows have no prediction"),
    ],
)
def test_wrong_tables(tmp_path: Path, rows: list[list[Any]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_predictions(table(tmp_path / "a.xlsx", rows), 2, {"index": [3, 7]})


def test_a_table_in_another_order_is_refused(tmp_path: Path) -> None:
    rows = [["index", "question", "prediction"], [0, "Who?\n", "x"], [1, "When exactly?", "y"], [2, "Where?", "z"]]
    file = table(tmp_path / "a.xlsx", rows)
    assert read_predictions(file, 3, {"question": ["who?", "When?", "Where?"]}) == ["x", "y", "z"]
    assert read_predictions(file, 3) == ["x", "y", "z"]
    with pytest.raises(UsageError, match=r"row 4: it answers row 2 .* that of row 1: the file"):
        read_predictions(file, 3, {"question": ["Who?", "Where?", "When?"]})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "index,prediction\n0,x,y\n", "row 2 has another number of cells"),
        ("a.csv", 'index,prediction\n0,"x', "can't be read as a table: unexpected end of data"),
        ("a.tsv", "index,prediction\n0,x\n", "must name the columns 'index' and 'prediction'"),
        ("a.csv", "doc_id,prediction\n0,x\n", "must name the columns 'index' and 'prediction', not ['doc_id'"),
        ("OCR.txt", "0001.jpg\tIs it?\tYes\tNo\n", "line 1 is no JSON object; wanted is"),
        ("a.json", "[1]", "answer 1 is no JSON object but int; wanted is"),
        ("a.json", "{}", "answer 1: 'doc_id' must be the row's position"),
    ],
)
def test_files_of_other_shapes(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_predictions(tmp_path / name, 1)
    assert message in str(caught.value)


def test_a_damaged_table_and_no_file(tmp_path: Path) -> None:
    file = tmp_path / "a.xlsx"
    file.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(UsageError, match="can't be read as a table"):
        read_predictions(file, 1)
    with pytest.raises(UsageError, match="can't be read"):
        read_predictions(tmp_path / "none.jsonl", 1)


def test_replies(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", [{"doc_id": 1, "replies": ["3", "1"]}])
    assert read_replies(file, 2) == {1: ("3", "1")}
    for wrong in ({"doc_id": 1}, {"doc_id": 1, "replies": "3"}, {"doc_id": 9, "replies": []}):
        with pytest.raises(UsageError):
            read_replies(write(file, [wrong]), 2)
    with pytest.raises(UsageError, match="twice"):
        read_replies(write(file, [{"doc_id": 1, "replies": []}] * 2), 2)
