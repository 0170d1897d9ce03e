"""``lladav-eval plan``: what it prints, its JSON, and that it neither loads weights nor uses the network."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from lladav_eval.cli.main import invoke


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(("plan", *arguments))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("LLADAV_EVAL_DATA", str(tmp_path / "nothing"))


def test_the_official_model_without_network(without_network: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(
        capsys, "--task", "mmmu,mathvista", "--model", "GSAI-ML/LLaDA-V", "--gpu", "a100", "--offline"
    )
    assert code == 0, err
    assert "mathvista" in out
    assert "in all:" in out
    assert "assumed are 900 rows" in out
    assert "50% of 312 TFLOP/s" in out


def test_the_document(without_network: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(
        capsys, "--task", "pocket_yesno", "--model", "pocket", "--gpu", "h100", "--limit", "7", "--json"
    )
    assert code == 0, err
    document = json.loads(out)
    (task,) = document["tasks"]
    assert (task["task"], task["rows"], task["rows_read"], task["steps"]) == ("lladav_pocket_yesno", 7, 7, 2)
    assert document["seconds"] == task["seconds"] > 0
    assert document["flops"] == task["flops"] == pytest.approx(7 * task["flops_per_sample"])
    assert (document["hardware"]["name"], document["dtype"]) == ("h100", "bfloat16")
    assert 1 <= task["batch_size"] <= task["batch_limit"] <= 7


def test_config_json_is_all_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lladav_eval.model.official import OFFICIAL_FIELDS

    (tmp_path / "config.json").write_text(json.dumps({**OFFICIAL_FIELDS, "num_hidden_layers": 8}))
    own = ("--tflops", "100", "--bandwidth", "1000", "--memory", "40")
    code, out, err = call(capsys, "--task", "pocket_yesno", "--model", str(tmp_path), *own, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert any("4 characters" in note for note in document["notes"])
    assert document["hardware"]["name"] == "own"


def test_settings_and_batch_are_those_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--task", "pocket_counts", "--model", "pocket", "--gpu", "cpu", "--limit", "8", "--json")
    code, out, _ = call(capsys, *asked, "--gen", "steps=8", "--cache", "dllm", "--batch-size", "4")
    assert code == 0
    document = json.loads(out)
    (task,) = document["tasks"]
    assert (task["steps"], task["approximate"], task["batch_size"]) == (8, True, 4)
    assert document["dtype"] == "float32"


def test_a_cpu_too_small_for_a_runs_batch_is_told_which_one_fits(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--task", "pocket_counts", "--model", "pocket", "--gpu", "cpu")
    code, out, _ = call(capsys, *asked, "--memory", "0.01", "--json")
    assert code == 0
    document = json.loads(out)
    fits = document["tasks"][0]["batch_size"]
    assert 0 < fits < 32
    note = f"pocket_counts: no more than {fits} at once fit, which a run on a CPU doesn't know: give it "
    assert note + f"--batch-size {fits}" in document["notes"]
    for enough in (("--batch-size", str(fits)), ("--limit", str(fits))):
        code, out, _ = call(capsys, *asked, "--memory", "0.01", *enough)
        assert code == 0
        assert "no more than" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "mmmu", "--model", "pocket"), "--gpu"),
        (("--task", "mmmu", "--model", "pocket", "--gpu", "v100"), "v100"),
        (("--task", "nonsense", "--model", "pocket", "--gpu", "a40"), "nonsense"),
        (("--task", "mmmu", "--model", "no such model", "--gpu", "a40"), "no such model"),
        (("--task", "mmmu", "--model", "pocket", "--gpu", "a40", "--batch-size", "0"), "--batch-size"),
        (("--task", "mmmu", "--model", "pocket", "--gpu", "a40", "--data", "/nowhere"), "/nowhere"),
    ],
)
def test_bad_usage_gets_one_line(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_model_of_another_kind_needs_its_config(without_network: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "--task", "pocket_yesno", "--model", "some/model", "--gpu", "a40", "--offline")
    assert code == 3
    assert "config.json of some/model" in err


@pytest.mark.parametrize("task", ["pocket_yesno", "mmmu"])
def test_a_text_only_model_sees_no_images(
    task: str, tmp_path: Path, without_network: None, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {
        "d_model": 64, "mlp_hidden_size": 128, "n_layers": 2, "n_heads": 2, "max_sequence_length": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 5e5, "embedding_size": 500,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(fields))
    code, _, err = call(capsys, "--task", task, "--model", str(tmp_path), "--gpu", "a40")
    assert code == 2
    assert "text-only" in err
