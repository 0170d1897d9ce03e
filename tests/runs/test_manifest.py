"""The manifest holds what is needed to repeat a run, and no secret."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise
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
        "token=TOPSECRET99",
        "lmms:x,password=TOPSECRET99,y=2",
        "hf_TOPSECRET99",
        "sk-TOPSECRET99",
    ],
)
def test_secrets_are_removed(text: str) -> None:
    assert "TOPSECRET99" not in redact(text)
    manifest = begin(RunSpec(("t",), text, gen=(("suffix", text),)), toy.ToyModel(name=text), {}, None)
    assert "TOPSECRET99" not in json.dumps(manifest)
    assert "TOPSECRET99" not in command(RunSpec(("t",), text), Path("x"))


@pytest.mark.parametrize("text", ["GSAI-ML/LLaDA-V", "a/b@main", "task-short_name", "https://host/v1?x=1"])
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


def test_the_command_repeats_every_option_that_shapes_the_run(tmp_path: Path) -> None:
    spec = RunSpec(
        ("lladav_a",), "toy", protocol="official", data="some data", judge="gpt@https://host/v1", time_limit=2.5,
        max_failures="5%", device="cpu", dtype="float32", batch_size=4, offline=True,
    )  # fmt: skip
    words = shlex.split(command(spec, tmp_path))
    pairs = {name: value for name, value in pairwise(words) if name.startswith("--")}
    assert pairs["--protocol"] == "official"
    assert pairs["--data"] == "some data"
    assert pairs["--judge"] == "gpt@https://host/v1"
    assert pairs["--time-limit"] == "2.5"
    named = {"--" + name.replace("_", "-") for name in RunSpec.__dataclass_fields__} - {"--tasks", "--limit", "--seed"}
    assert named - {"--gen", "--trace"} <= set(words), "an option that the resume command forgets"


def test_versions_of_installed_packages() -> None:
    found = versions()
    assert found["torch"]
    assert found["pillow"]
