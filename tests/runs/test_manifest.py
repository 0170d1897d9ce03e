"""The manifest holds what is needed to repeat a run, and no secret."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import toy

from lladav_eval.records import RunSpec
from lladav_eval.runs.manifest import begin, command, end, redact, versions

SPEC = RunSpec(("lladav_a", "lladav_b"), "toy", limit=5, gen=(("stop", '["\\n"]'),), seed=3, trace=True)


@pytest.mark.parametrize(
    "text",
    [
        "openai:m@https://user:TOPSECRET99@host/v1",
        "https://host/v1?api_key=TOPSECRET99&x=1",
        "openai:m@http://host/v1?key=TOPSECRET99",
        "see https://host/v1#TOPSECRET99 for more",
        "token=TOPSECRET99",
        "lmms:x,password=TOPSECRET99,y=2",
        "hf_TOPSECRET99aBcDeFgHiJkLmNoPqRsTuVwX",
        "ghp_TOPSECRET99aBcDeFgHiJkLmNoPqRsTuVwXyZ",
        "sk-TOPSECRET99aBcDeFgHiJ",
        "sk-proj-TOPSECRET99_aBcDeF-gHiJkLmNoP",
        "glpat-TOPSECRET99-aBcDeFgH",
        "DIR/hf_TOPSECRET99aBcDeFgHiJkLmNoPqRsTuVwX/x",
    ],
)
def test_secrets_are_removed(text: str) -> None:
    assert "TOPSECRET99" not in redact(text)
    manifest = begin(RunSpec(("t",), text, gen=(("suffix", text),)), toy.ToyModel(name=text), {}, None)
    assert "TOPSECRET99" not in json.dumps(manifest)
    assert "TOPSECRET99" not in command(RunSpec(("t",), text), Path("x"))


@pytest.mark.parametrize(
    "text",
    [
        "GSAI-ML/LLaDA-V",
        "a/b@main",
        "task-short_name",
        "https://host/v1",
        "/data/hf_datasets",
        "hf_checkpoint_of_the_second_of_three_runs",
        "hf:hf-internal-testing/tiny-random-LlavaForConditionalGeneration",
        "sk-learn-digits",
        "ghp_results",
    ],
)
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_sessions_accumulate(tmp_path: Path) -> None:
    first = end(begin(SPEC, toy.ToyModel(), {}, None), "interrupted")
    second = end(begin(SPEC, toy.ToyModel(), {}, first), "complete")
    assert [session["status"] for session in second["sessions"]] == ["interrupted", "complete"]
    assert all(session["ended"] and session["host"] for session in second["sessions"])
    json.dumps(second, allow_nan=False)


def test_the_command_asks_for_the_same_run(tmp_path: Path) -> None:
    words = shlex.split(command(SPEC, tmp_path / "my run"))
    assert words[:4] == ["lladav-eval", "run", "--task", "lladav_a,lladav_b"]
    assert words[words.index("--gen") + 1] == 'stop=["\\n"]'
    assert words[words.index("--out") + 1] == str(tmp_path / "my run")
    assert "--trace" in words
    assert "--offline" not in words


def test_every_option_of_the_command_line_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is given comes back to the run loop the same way by the command that resumes."""
    from dataclasses import fields

    from lladav_eval.cli import main, preflight
    from lladav_eval.cli import run as run_module

    seen: list[tuple[RunSpec, bool]] = []
    monkeypatch.setattr(run_module, "_run", lambda spec, out, resume, retry_failed: seen.append((spec, retry_failed)))
    monkeypatch.setattr(preflight, "check", lambda _: None)
    for name in ("LLADAV_EVAL_DATA", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
    given = (
        *("run", "--task", "pocket_digits", "--model", "m", "--limit", "3", "--batch-size", "2", "--cache", "dual"),
        *("--gen", "steps=4", "--protocol", "official", "--data", str(tmp_path), "--judge", "j@http://127.0.0.1:9/v1"),
        *("--offline", "--engine", "ray", "--workers", "5", "--ray-address", "ray://head:10001", "--seed", "7"),
        *("--retry-failed", "--device", "cpu", "--dtype", "float32", "--trace", "--max-failures", "5%"),
        *(
            "--time-limit",
            "9.5",
            "--include-path",
            str(tmp_path),
            "--accelerate",
            "compile",
            "--accelerate",
            "cuda-graphs",
        ),
    )
    assert main.invoke(given) == 0
    spec = seen[0][0]
    plain = RunSpec(("x",), "x")
    assert [field.name for field in fields(spec) if getattr(spec, field.name) == getattr(plain, field.name)] == []
    again = shlex.split(command(spec, tmp_path, retry_failed=True))
    assert main.invoke(again[1:]) == 0
    assert seen[1] == seen[0]


def test_versions_of_installed_packages() -> None:
    found = versions()
    assert found["torch"]
    assert found["pillow"]
