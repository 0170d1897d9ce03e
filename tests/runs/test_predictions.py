"""Files of recorded answers: three formats, and one clear line for whatever is wrong."""

from __future__ import annotations

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
    assert read_predictions(file, 3, indices=[3, 7, 9]) == ["", "5", "2.5"]
    rows[1][0], rows[2][0], rows[3][0] = 1, 0, 2.0
    assert read_predictions(table(tmp_path / "b.xlsx", rows), 3) == ["", "5", "2.5"]


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
        ([{"doc_id": -1, "prediction": "x"}], "doc_id -1 is unknown"),
        ([{"doc_id": "0", "prediction": "x"}], "'doc_id' must be a whole number"),
        ([{"doc_id": True, "prediction": "x"}], "'doc_id' must be a whole number"),
        ([{"prediction": "x"}], "'doc_id' must be a whole number"),
        ([{"doc_id": 0, "prediction": 5}], "'prediction' must be one text, not 5"),
        ([{"doc_id": 0, "prediction": ["x"]}], "'prediction' must be one text"),
        ([{"doc_id": 0, "resps": [["x", "y"]]}], "'resps' must be one text"),
        ([{"doc_id": 0, "text": "x"}], "line 1 has no 'prediction'"),
        ([[0, "x"]], "line 1 is no JSON object but list"),
        ([], "2 of 2 rows have no prediction: doc_id 0, 1"),
    ],
)
def test_wrong_lines(tmp_path: Path, lines: list[Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_predictions(write(tmp_path / "a.jsonl", lines), 2)
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
        read_predictions(table(tmp_path / "a.xlsx", rows), 2, indices=[3, 7])


def test_a_table_in_another_order_is_refused(tmp_path: Path) -> None:
    rows = [["index", "question", "prediction"], [0, "Who?\n", "x"], [1, "When exactly?", "y"], [2, "Where?", "z"]]
    file = table(tmp_path / "a.xlsx", rows)
    assert read_predictions(file, 3, questions=["who?", "When?", "Where?"]) == ["x", "y", "z"]
    assert read_predictions(file, 3) == ["x", "y", "z"]
    with pytest.raises(UsageError, match=r"row 4: index 2 is row 2 .* that of row 1: the table"):
        read_predictions(file, 3, questions=["Who?", "Where?", "When?"])


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
