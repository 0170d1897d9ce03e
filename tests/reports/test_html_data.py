"""The report's data files: what they hold, and that no text can break out of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.report_pages import read_script
from reports.synthetic import Sheet, write_run

from lladav_eval.records import TraceStep
from lladav_eval.reports import html_data
from lladav_eval.reports.html_data import PartWriter, TokenTable, join_runs, script, target_text
from lladav_eval.reports.load import load_run


@given(st.text(st.characters(), max_size=40))
def test_any_text_survives_a_script_and_stays_inside_it(text: str) -> None:
    written = script("index", {"text": text})
    assert written.isascii()
    assert "<" not in written
    assert written.count("\n") == 1
    assert json.loads(written[len("lladavReport.index(") : -3]) == {"text": text}


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        script("index", float("nan"))


@pytest.mark.parametrize(("target", "text"), [(None, ""), (3, "3"), ("A", "A"), (["a", "b"], "a\nb")])
def test_targets_as_text(target: object, text: str) -> None:
    assert target_text(target) == text


def test_rows_hold_the_samples_of_both_runs_in_the_order_of_the_first(tmp_path: Path) -> None:
    first = load_run(write_run(tmp_path / "a", {"b": Sheet([1.0, 0.0]), "a": Sheet([1.0])}))
    second = load_run(write_run(tmp_path / "b", {"b": Sheet([1.0, 1.0], doc_ids=[1, 2]), "c": Sheet([0.0])}))
    rows = join_runs([first, second])
    assert [(row.task, row.doc_id) for row in rows] == [
        ("lladav_b", 0), ("lladav_b", 1), ("lladav_b", 2), ("lladav_a", 0), ("lladav_c", 0),
    ]  # fmt: skip
    assert [[sample is not None for sample in row.samples] for row in rows] == [
        [True, False], [True, True], [False, True], [True, False], [False, True],
    ]  # fmt: skip


def test_parts_end_after_so_many_rows_or_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_data, "PART_ROWS", 3)
    monkeypatch.setattr(html_data, "PART_BYTES", 100)
    writer = PartWriter(tmp_path, "samples")
    for row in range(7):
        writer.add(row, {"text": "x" * (90 if row == 4 else 1)})
    writer.flush()
    assert writer.starts == [0, 3, 4, 5]
    found = []
    for number in range(4):
        kind, stated, rows = read_script(tmp_path / f"samples-{number:04d}.js", "part")
        assert (kind, stated) == ("samples", number)
        assert rows[0][0] == writer.starts[number]
        found += [row for row, _ in rows]
    assert found == list(range(7))


def test_nothing_is_written_for_no_rows(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, "trace")
    writer.flush()
    assert writer.starts == []
    assert not list(tmp_path.iterdir())


def test_steps_and_texts_of_tokens() -> None:
    table = TokenTable({7: "seven", 9: "nine"}.__getitem__)
    steps = table.steps([TraceStep(0, 0, (1, 0), (9, 7), (0.123456, float("-inf")))])
    assert steps == [[0, 0, [1, 0], [9, 7], [0.1235, None]]]
    assert table.value() == [[7, "seven"], [9, "nine"]]


def test_without_a_tokenizer_there_are_no_texts() -> None:
    table = TokenTable(None)
    table.steps([TraceStep(0, 0, (0,), (9,), (1.0,))])
    assert table.value() == []
