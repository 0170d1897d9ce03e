"""``doctor`` says what would fail and the fix, and never a secret."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from chat_server import serve
from tiny_checkpoint import write_checkpoint
from tiny_hf import write_hf

from lladav_eval.cli import checks, model_checks
from lladav_eval.cli.main import invoke

SECRET = "sk-very-secret-0123456789"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Exit code, the checks by name, and everything that was printed."""
    code = invoke(["doctor", "--json", *arguments])
    out, err = capsys.readouterr()
    return code, {check["name"]: check for check in json.loads(out)}, out + err


def test_everything_the_issue_names_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = call(capsys, "--offline", "--model", "pocket")
    assert code == 0
    names = {"python", "torch", "lmms-eval", "device", "memory", "disk", "data cache", "model cache", "av", "decord"}
    assert found.keys() >= names | {"ffmpeg", "video", "model", "model memory"}
    assert "hub" not in found
    assert found["video"]["found"].endswith("is read back")
    assert "weights in float32" in found["model memory"]["found"] or found["device"]["ok"]
    assert all(check["fix"] for check in found.values() if not check["ok"])
    assert invoke(["doctor", "--offline"]) == 0
    assert "ok    torch" in capsys.readouterr().out


def test_a_missing_package_fails_and_an_optional_one_warns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lladav_eval.runs import manifest

    monkeypatch.setattr(manifest, "versions", lambda: {"torch": None, "accelerate": None, "av": None})
    assert invoke(["doctor", "--offline"]) == 3
    out = capsys.readouterr().out
    assert "FAIL  torch: not installed\n      fix: install lladav_eval again" in out
    assert "ok    accelerate: not installed" in out


def test_a_full_or_read_only_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**6))
    code, found, _ = call(capsys, "--offline")
    assert code == 3
    assert not found["disk"]["ok"]
    assert "make room" in found["disk"]["fix"]
    assert "$HF_HOME" in found["model cache"]["fix"]

    def refuse(dir: Path) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)
    code, found, _ = call(capsys, "--offline")
    assert code == 3
    assert "can't be written (Read-only file system)" in found["disk"]["found"]


def test_a_model_too_large_for_the_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_checkpoint(tmp_path / "model"))
    arguments = ("--offline", "--model", path, "--device", "cpu")
    assert call(capsys, *arguments)[1]["model memory"]["ok"]
    monkeypatch.setattr(model_checks, "main_memory", lambda: (1000, 2000))
    code, found, _ = call(capsys, *arguments)
    assert code == 3
    assert "about 0.0 GiB of main memory" in found["model memory"]["found"]
    assert "--model pocket runs anywhere" in found["model memory"]["fix"]


def test_device_and_number_type_are_looked_at_without_a_model_too(capsys: pytest.CaptureFixture[str]) -> None:
    for name, reason in (("cuda:99", "no such device"), ("abacus", "not a device")):
        code, found, _ = call(capsys, "--offline", "--device", name)
        assert code == 3
        assert reason in found["device"]["found"]
        assert "cpu" in found["device"]["fix"]
    assert invoke(["doctor", "--offline", "--dtype", "float99"]) == 2
    assert "--dtype" in capsys.readouterr().err


def test_a_model_of_the_hub(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_checks, "main_memory", lambda: (10**12, 10**12))
    for answers in (True, False):
        monkeypatch.setattr(checks, "hub", lambda answers=answers: checks.Check("hub", answers, "", "", required=False))
        code, found, _ = call(capsys, "--model", "nobody/nothing-of-the-kind")
        assert (code == 0) is answers
        assert ("must be fetched first" if answers else "not in the local cache") in found["model"]["found"]


def test_bfloat16_needs_half_of_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = model_checks._parameters(write_checkpoint(tmp_path / "model"))
    for dtype, size in (("float32", 4), ("bfloat16", 2)):
        needed = int(count * size * model_checks.HEADROOM)
        monkeypatch.setattr(model_checks, "main_memory", lambda needed=needed: (needed, needed))
        assert model_checks._room(count, "cpu", dtype).ok
        monkeypatch.setattr(model_checks, "main_memory", lambda needed=needed: (needed - 1, needed))
        assert not model_checks._room(count, "cpu", dtype).ok


def test_a_control_groups_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = checks.main_memory()[1]
    monkeypatch.setattr(checks, "Path", lambda *parts: tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert checks.main_memory() == (600000, 1000000)
    (tmp_path / "memory.max").write_text("max\n")
    assert checks.main_memory()[1] == total


def test_what_only_loading_a_model_would_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files around the weights are read as a run reads them, and the error's fix is the fix."""
    from transformers.models.smolvlm import processing_smolvlm

    directory = write_hf("smolvlm", tmp_path / "hf")
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    code, found, _ = call(capsys, "--offline", "--model", f"hf:{directory}")
    assert (code, found["model"]["ok"]) == (3, False)
    assert "pip install num2words" in found["model"]["found"]
    directory = write_checkpoint(tmp_path / "lladav")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"vision_config": None, "mm_vision_tower": "../mine"}))
    code, found, _ = call(capsys, "--offline", "--model", str(directory))
    assert (code, found["model"]["ok"]) == (3, False)
    assert found["model"]["found"].endswith("its sizes are unknown")
    assert found["model"]["fix"].startswith("add a 'vision_config' object")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere", "no such directory"),
        ("openai:m", "names no model"),
        ("replay:gone.jsonl", "can't be read"),
        ("GSAI-ML/LLaDA-V", "not in the local cache"),
        ("pickled", "pickled weights can run code"),
        ("broken", "not a readable safetensors file"),
    ],
)
def test_a_model_that_cannot_be_had(
    model: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name, file in (("pickled", "model.bin"), ("broken", "model.safetensors")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_bytes(b"x" * 20)
    code, found, _ = call(capsys, "--offline", "--model", model)
    assert code == 3
    assert not found["model"]["ok"]
    assert message in found["model"]["found"]


def test_a_judge_that_answers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLADAV_EVAL_JUDGE_KEY", SECRET)
    monkeypatch.setattr(checks, "hub", lambda: checks.Check("hub", True, "answers"))
    with serve() as server:
        code, found, said = call(capsys, "--judge", f"gpt@{server.url}", "--model", f"openai:toy@{server.url}")
        assert server.requests[0]["max_tokens"] == 1
        assert f"Bearer {SECRET}" in server.keys
    assert code == 0
    assert found["judge"]["found"].startswith("served-2026 answers in")
    assert found["model"]["ok"]
    assert SECRET not in said


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ((401, {}, f"wrong key {SECRET}"), "the key is refused (status 401)"),
        ((404, {}, ""), "no such address or model"),
        ((429, {}, ""), "status 429"),
        ((400, {}, f"\x1b[31mno\x1b[0m {SECRET}"), "rejects the request (status 400)"),
    ],
)
def test_a_judge_that_would_fail_says_why_and_no_secret(
    behaviour: Any, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLADAV_EVAL_JUDGE_KEY", SECRET)
    monkeypatch.setattr(checks, "hub", lambda: checks.Check("hub", True, "answers"))
    with serve(behaviour) as server:
        code, found, said = call(capsys, "--judge", f"gpt@{server.url}")
    assert code == 3
    assert message in found["judge"]["found"]
    assert "$LLADAV_EVAL_JUDGE_KEY" in found["judge"]["fix"]
    assert SECRET not in said
    assert "\x1b" not in found["judge"]["found"]


@pytest.mark.parametrize("judge", ["gpt", f"gpt@https://user:{SECRET}@host/v1", f"gpt@https://host/v1?key={SECRET}"])
def test_a_judge_that_is_none(judge: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, said = call(capsys, "--offline", "--judge", judge)
    assert code == 3
    assert not found["judge"]["ok"]
    assert SECRET not in said


def test_the_hub(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", SECRET)
    with serve() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        assert checks.hub().ok
        assert checks.hub().found.endswith("answers, a token is set")
    monkeypatch.setattr(constants, "ENDPOINT", f"http://user:{SECRET}@127.0.0.1:9")
    check = checks.hub()
    assert not check.ok
    assert "use --offline" in check.fix
    assert SECRET not in check.found
    assert not check.required


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    invoke(["doctor", "--offline", "--model", "pocket"])
    assert os.listdir(tmp_path) == []
