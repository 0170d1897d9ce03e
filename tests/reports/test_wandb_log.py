"""A run in Weights & Biases, offline: what lies on disk is what would be sent."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from reports.synthetic import HOSTILE, Sheet, write_run

from lladav_eval.cli.main import invoke
from lladav_eval.reports.load import load_run
from lladav_eval.reports.wandb_log import SAMPLES, SCORES, config, sample_rows, score_rows, summary, wandb_id

GOOD = [1.0] * 6 + [0.0] * 4


@pytest.fixture
def run(tmp_path: Path) -> Path:
    fast = {"gen_length": 2, "steps": 2, "cache": "dual:32"}
    a = Sheet(GOOD, texts={1: HOSTILE}, statuses={9: "failed"}, categories=["x"] * 10, data_revision="abc")
    return write_run(tmp_path / "mine", {"a": a, "b": Sheet(GOOD, settings=fast)}, model="toy model")


def test_every_score_has_its_facts(run: Path) -> None:
    found = load_run(run)
    first, second = (dict(zip(SCORES, row, strict=True)) for row in score_rows(found))
    assert (first["task"], first["value"], first["n"], first["failed"], first["protocol"]) == ("a", 60, 10, 1, "strict")
    assert first["low"] < 60 < first["high"]
    assert (first["commit"], first["date"][:2], first["approximate"]) == ("0123456789", "20", None)
    assert second["approximate"] == "cache=dual:32"
    flat = summary(found)
    assert (flat["a/accuracy"], flat["a/n"], flat["a/failed"], flat["a/accuracy_low"]) == (60, 10, 1, first["low"])
    facts = config(found)
    assert (facts["protocol"], facts["commit"], facts["n"]) == ("strict", "0123456789abcdef", 20)
    assert facts["tasks"]["a"]["data_revision"] == "abc"
    assert facts["tasks"]["b"]["settings"]["cache"] == "dual:32"
    assert "hunter2" not in json.dumps(facts)


def test_samples_of_every_task_up_to_a_limit(run: Path) -> None:
    rows = [dict(zip(SAMPLES, row, strict=True)) for row in sample_rows(load_run(run), 3)]
    assert [(row["task"], row["doc_id"]) for row in rows] == [(task, n) for task in "ab" for n in range(3)]
    assert (rows[1]["answer"], rows[1]["category"], rows[1]["target"], rows[1]["value"]) == (HOSTILE, "x", "A", 1.0)


def test_a_run_directory_is_one_wandb_run(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", {"a": Sheet(GOOD)})
    assert wandb_id(load_run(run)) == wandb_id(load_run(run)) != wandb_id(load_run(other))


def records(folder: Path) -> list[Any]:
    """What an offline run wrote for a later ``wandb sync``; its service may still be writing when the run is over."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    patience = time.monotonic() + 60
    found: list[Any] = []
    while not (found and found[-1].HasField("exit")):
        assert time.monotonic() < patience, "the offline run was never written to its end"
        time.sleep(0.05)
        store, found = DataStore(), []
        store.open_for_scan(str(file))
        while (data := store.scan_data()) is not None:
            record = Record()
            record.ParseFromString(data)
            found.append(record)
    return found


def test_offline_logging_writes_all_of_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    assert invoke(["log", str(run), "--wandb", "project", "--group", "nightly", "--tag", "pocket"]) == 0
    out, err = capfd.readouterr()
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert out == f"logged: mine -> {folder}\n", "the folder that `wandb sync` takes"
    assert "wandb: WARNING" not in err
    found = records(tmp_path)
    (begun,) = [record.run for record in found if record.HasField("run")]
    assert (begun.project, begun.run_group, list(begun.tags)) == ("project", "nightly", ["pocket"])
    assert begun.run_id == wandb_id(load_run(run))
    settings = {item.key: item.value_json for item in begun.config.update}
    assert json.loads(settings["protocol"]) == "strict"
    assert json.loads(settings["model"]) == "toy model"
    sums = {
        "/".join([item.key, *item.nested_key]): item.value_json for record in found for item in record.summary.update
    }
    assert json.loads(sums["a/accuracy"]) == 60.0
    assert json.loads(sums["a/n"]) == 10
    tables = {path.name.split("_")[0]: json.loads(path.read_text()) for path in tmp_path.rglob("*.table.json")}
    assert tables["scores"]["columns"] == list(SCORES)
    assert len(tables["samples"]["data"]) == 20
    assert tables["samples"]["data"][1][SAMPLES.index("answer")] == HOSTILE
    (artifact,) = [
        record.artifact for record in found if record.HasField("artifact") and record.artifact.type == "evaluation"
    ]
    assert {entry.path for entry in artifact.manifest.contents} == {"results.json", "samples.jsonl"}


@pytest.mark.parametrize(
    "words", [["a/b"], [""], ["x" * 129], ["project", "--tag", ""], ["project", "--tag", "x" * 65]]
)
def test_names_that_wandb_refuses_are_wrong_usage(
    run: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["log", str(run), "--offline", "--wandb", *words]) == 2
    assert "characters" in capsys.readouterr().err


def test_without_the_package_the_fix_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert invoke(["log", str(run), "--wandb", "project"]) == 3
    assert "pip install 'lladav_eval[wandb]'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_a_path_that_is_no_text_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_DIR", raising=False)
    odd = tmp_path / os.fsdecode(b"odd\xff")
    shutil.copytree(run, odd)
    assert invoke(["log", str(odd), "--wandb", "project", "--offline"]) == 2
    assert "only paths in UTF-8" in capsys.readouterr().err
    monkeypatch.chdir(odd)
    assert invoke(["log", str(run), "--wandb", "project", "--offline"]) == 2
    assert capsys.readouterr().err.strip().endswith("is none: set WANDB_DIR")


def test_what_wandb_refuses_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: pip install wandb")

    def refuse(**_: object) -> None:
        raise wandb.errors.UsageError("api_key not configured (no-tty).\ncall wandb.login")

    monkeypatch.setattr(wandb, "init", refuse)
    assert invoke(["log", str(run), "--wandb", "project"]) == 3
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "api_key not configured" in line
    assert "wandb login" in line
    assert invoke(["log", str(tmp_path), "--wandb", "project"]) == 2
