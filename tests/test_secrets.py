"""Keys and passwords reach no file, no log and no message: whole runs that are given some."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy
from chat_server import serve

from lladav_eval.adapters.chat_client import Patience
from lladav_eval.cli.main import invoke
from lladav_eval.records import RunSpec
from lladav_eval.runs.manifest import redact
from lladav_eval.runs.store import run_id

SECRET = "sk-very-secret-0123456789"
UNUSUAL = "correct horse battery"


def everything_in(folder: Path) -> str:
    """Names and contents of all files below a folder."""
    return "\n".join(
        f"{path}\n{path.read_bytes().decode('utf-8', 'replace')}" for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_keys_of_the_environment_reach_no_file_and_no_log(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An endpoint that repeats all keys in its errors."""
    toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=2), monkeypatch)
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("MY_OTHER_API_KEY", UNUSUAL)
    monkeypatch.setattr(Patience, "pause", lambda *_: 0.0)
    words = f"you sent {SECRET} and {UNUSUAL}"
    with serve(*[(status, {}, words)] * 40) as server:
        code = invoke(["run", "--task", "toy_a", "--model", f"openai:m@{server.url}", "--out", "run"])
        assert any(SECRET in (key or "") for key in server.keys), "the key was used"
    assert code != 0
    out, err = capfd.readouterr()
    written = everything_in(tmp_path / "run")
    assert "manifest.json" in written
    if status == 400:
        assert "you sent" in written, "the endpoint's reason is told"
    for text in (out, err, written):
        assert SECRET not in text
        assert UNUSUAL not in text


@pytest.mark.parametrize(
    "model",
    [
        f"openai:m@https://user:{UNUSUAL.replace(' ', '-')}@host/v1",
        f"openai:m@https://host/v1?api_key={SECRET}",
        f"lmms:dummy,api_key={SECRET}",
        f"https://user:{UNUSUAL.replace(' ', '-')}@host/owner/model",
    ],
)
def test_a_key_in_the_models_name_is_refused_and_leaves_no_trace(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=2), monkeypatch)
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert invoke(["run", "--task", "toy_a", "--model", model, "--offline"]) in (2, 3)
    out, err = capfd.readouterr()
    for text in (out, err, everything_in(tmp_path / "work"), run_id(RunSpec(("t",), model))):
        assert SECRET not in text
        assert UNUSUAL.replace(" ", "-") not in text


def test_only_values_of_secret_variables_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", UNUSUAL)
    monkeypatch.setenv("SHORT_KEY", "true")
    monkeypatch.setenv("KEYBOARD", "qwertyuiop")
    assert redact(f"a true {UNUSUAL} qwertyuiop") == "a true REDACTED qwertyuiop"
