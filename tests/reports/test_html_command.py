"""``lladav-eval report`` from a run to a page: traces of the journal, texts of tokens, pictures of the tasks' rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from reports.report_pages import read_script
from tiny_checkpoint import write_checkpoint

from lladav_eval.cli.main import invoke
from lladav_eval.cli.report_sources import Pictures, read_traces, token_texts
from lladav_eval.errors import EvalError, UsageError
from lladav_eval.records import Generation, TraceStep
from lladav_eval.runs.journal import Record, encode

TRACE = (TraceStep(0, 0, (0,), (7,), (0.5,)),)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures and three videos answered by random weights."""
    folder = tmp_path_factory.mktemp("traced")
    model = write_checkpoint(folder / "model")
    asked = ["--task", "pocket_digits,pocket_video", "--model", str(model), "--limit", "3", "--device", "cpu"]
    assert invoke(["run", *asked, "--trace", "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_the_page_of_a_traced_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"written: {run / 'report' / 'index.html'}\n"
    data = run / "report" / "data"
    (index,) = read_script(data / "index.js", "index")
    assert index["decoded"] == [True]
    assert index["traces"] == [0]
    _, _, traces = read_script(data / "trace-0000.js", "part")
    _, _, samples = read_script(data / "samples-0000.js", "part")
    assert [row for row, _ in traces] == [row for row, _ in samples] == list(range(6))
    ids = {token for _, sides in traces for step in sides[0] for token in step[3]}
    texts = dict(read_script(data / "tokens.js", "tokens")[0][0])
    assert set(texts) == ids
    media = [value["media"] for _, value in samples]
    assert [found["video"] for found in media] == [False] * 3 + [True] * 3
    assert all(found["note"] is None and found["files"] for found in media)
    for found in media:
        assert all((run / "report" / "media" / name).is_file() for name, _, _ in found["files"])


def test_without_pictures_no_task_is_loaded(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lladav_eval.runs.tasks.load_tasks", lambda *_, **__: pytest.fail("a task was loaded"))
    assert invoke(["report", str(run), str(run), "--no-media", "--out", str(tmp_path / "page")]) == 0
    assert not (tmp_path / "page" / "media").exists()


def test_a_run_directory_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["report", str(tmp_path / "nowhere")]) == 2
    assert "is not a run directory" in capsys.readouterr().err


def journal(folder: Path, *records: tuple[int, Any]) -> Path:
    """A journal of one task with (doc_id, trace) lines."""
    lines = [encode(Record("t", doc_id, "k", "", Generation("x", trace=trace))) for doc_id, trace in records]
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    return folder


def test_the_last_line_of_a_sample_counts(tmp_path: Path) -> None:
    later = (TraceStep(0, 0, (0,), (8,), (0.5,)),)
    trace_of = read_traces(journal(tmp_path, (0, TRACE), (1, TRACE), (0, later), (1, None)))
    assert trace_of is not None
    assert trace_of("t", 0) == later
    assert trace_of("t", 1) is None
    assert trace_of("t", 2) is None


def test_a_run_without_a_journal_or_without_traces_has_no_player(tmp_path: Path) -> None:
    assert read_traces(tmp_path) is None
    assert read_traces(journal(tmp_path, (0, None))) is None


def test_a_damaged_journal_is_said(tmp_path: Path) -> None:
    path = journal(tmp_path, (0, TRACE), (1, TRACE)) / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))
    with pytest.raises(UsageError, match=r"line 1: the checksum does not match.*resume"):
        read_traces(tmp_path)


def test_a_journal_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(UsageError, match=r"journal.jsonl can't be read \(Is a directory\)"):
        read_traces(tmp_path)


def test_a_checkpoint_that_is_gone_leaves_ids(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"spec": {"tasks": [], "model": "./gone/for/good"}}))
    texts, reason = token_texts(tmp_path)
    assert texts is None
    assert reason is not None
    assert "gone" in reason


@pytest.mark.parametrize("recorded", ["tokenizer", "weights"])
def test_a_tokenizer_that_changed_is_said_and_ids_are_shown(
    run: Path, tmp_path: Path, recorded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same ids would read as other words; runs from before tokenizers were recorded are judged by all files."""
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    shutil.copytree(run.parent / "model", tmp_path / "model")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["spec"]["model"] = str(tmp_path / "model")
    if recorded == "weights":
        del manifest["model"]["tokenizer"]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    texts, reason = token_texts(tmp_path / "run")
    assert reason is None
    assert texts is not None
    file = tmp_path / "model" / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    first, second = list(vocabulary)[:2]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    file.write_text(json.dumps(content))
    texts, reason = token_texts(tmp_path / "run")
    assert texts is None
    what = {"tokenizer": "tokenizer", "weights": "checkpoint"}[recorded]
    assert f"the {what} changed since the run (" in (reason or "")
    assert invoke(["report", str(tmp_path / "run"), "--no-media"]) == 0
    assert "are shown as ids" in capsys.readouterr().err
    data = tmp_path / "run" / "report" / "data"
    (index,) = read_script(data / "index.js", "index")
    assert index["decoded"] == [False]
    assert f"the {what} changed since the run (" in index["undecoded"][0]
    assert read_script(data / "tokens.js", "tokens") == [[[]]]


def test_a_run_that_recorded_no_tokenizer_shows_ids(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"spec": {"tasks": [], "model": "pocket"}, "model": {}}))
    texts, reason = token_texts(tmp_path)
    assert (texts, reason) == (None, "pocket: the run doesn't say which tokenizer it had")


def test_pictures_of_rows_that_changed_are_not_shown(run: Path) -> None:
    pictures = Pictures([run])
    assert "differs" in (pictures("lladav_pocket_digits", 0, "another question").note or "")
    assert "no such row" in (pictures("lladav_pocket_digits", 10**6, "").note or "")


def test_a_task_that_cannot_be_loaded_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"spec": {"tasks": ["lladav_nothing"], "model": "m"}}))
    with pytest.raises(EvalError, match="--no-media"):
        Pictures([tmp_path])


def test_no_folder_of_tasks_that_only_the_run_names_is_read(tmp_path: Path) -> None:
    """Its functions would run."""
    (tmp_path / "lladav_theirs.yaml").write_text(
        "task: lladav_theirs\ndataset_path: json\ntest_split: test\ndoc_to_text: !function theirs.question\n"
    )
    spec = {"tasks": ["lladav_theirs"], "model": "m", "include_path": [str(tmp_path)]}
    (tmp_path / "manifest.json").write_text(json.dumps({"spec": spec}))
    with pytest.raises(
        EvalError, match=r"is not a task; .*; --include-path names the folder of the run's tasks, --no-"
    ):
        Pictures([tmp_path])
    with pytest.raises(EvalError, match="lladav_theirs has no doc_to_target"):
        Pictures([tmp_path], include_path=[tmp_path])


def test_the_frames_shown_are_those_the_model_saw() -> None:
    from lladav_eval.cli.report_sources import _frames

    frames = tuple(Image.new("RGB", (4, 4), (number, 0, 0)) for number in range(12))
    assert [frame.getpixel((0, 0)) for frame in _frames(frames, 4)] == [(number, 0, 0) for number in (0, 3, 7, 11)]
    assert len(_frames((), 4)) == 0
