"""``lmms:`` models through our run loop's interface: lmms-eval's own that run without weights, and our plugin."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models import MODEL_REGISTRY_V2
from lmms_eval.models.registry_v2 import ModelManifest
from PIL import Image
from tiny_checkpoint import write_checkpoint

import lladav_eval
from lladav_eval.adapters.models import resolve_model
from lladav_eval.adapters.registered import RegisteredAnswerer
from lladav_eval.errors import CheckpointError, EnvironmentError_, SettingError, UsageError
from lladav_eval.records import Generation, Question, Request, RunSpec, SamplingParams, VideoClip
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory

PARAMS = SamplingParams(8, 4, 8, stop=("\n",))
RED = Image.new("RGB", (20, 16), (255, 0, 0))


def requests() -> list[Request]:
    return [
        Request("Read the digits.", (RED,), mode="no_think"),
        Request("Which image shows a digit?", (RED, Image.new("RGB", (16, 16), (0, 9, 0)))),
        Request("Which way?", video=(RED, RED), num_frames=2),
        Request("List each digit"),
    ]


def ask(model: Any, asked: list[Request], params: SamplingParams = PARAMS) -> list[Generation]:
    return list(model.answer([Question("toy", index, request, params) for index, request in enumerate(asked)]))


class ToyChat(lmms):
    """A chat model: says what it was shown, and breaks where asked to."""

    is_simple = False
    seen: list[Any]

    def __init__(self, prefix: str = "", batch_size: int = 1) -> None:
        super().__init__()
        self.prefix = prefix
        self.seen = []

    def generate_until(self, requests: list[Any]) -> list[GenerationResult]:
        answers = []
        self.seen.append(len(requests))
        for context, to_messages, settings, doc_id, task, split in (request.args for request in requests):
            messages = to_messages(self.task_dict[task][split][doc_id])
            if "break" in context:
                raise ZeroDivisionError("a bug of the model")
            kinds = " ".join(part["type"] for part in messages[0]["content"])
            text = f"{self.prefix}{kinds} {settings['max_new_tokens']}."
            answers.append(GenerationResult(text, TokenCounts(input_tokens=5, output_tokens=2)))
        return answers

    def loglikelihood(self, requests: list[Any]) -> Any:
        raise NotImplementedError

    def generate_until_multi_round(self, requests: list[Any]) -> Any:
        raise NotImplementedError


@pytest.fixture
def _toy_chat() -> Iterator[None]:
    """The toy among lmms-eval's registered models."""
    manifest = ModelManifest(model_id="toy_chat", chat_class_path=f"{__name__}.ToyChat")
    MODEL_REGISTRY_V2.register_manifest(manifest, overwrite=True)
    yield
    MODEL_REGISTRY_V2._manifests.pop("toy_chat")
    MODEL_REGISTRY_V2._alias_to_model_id.pop("toy_chat")


def test_dummy_answers_through_the_simple_interface() -> None:
    model = resolve_model("lmms:dummy,response=Yes.", batch_size=2)
    assert [answer.text for answer in ask(model, requests())] == ["Yes"] * 4
    assert all(answer.seconds >= 0 and answer.media_seconds is not None for answer in ask(model, requests()))
    assert model.name == "lmms:dummy"
    assert model.description()["interface"] == "simple"


def test_dummy_reads_a_video_file_by_its_path(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not looked into")
    model = resolve_model("lmms:dummy,read_bytes=4")
    answers = ask(model, [Request("Which way?", video=clip), Request("Which way?", video=VideoClip(clip))])
    assert [answer.status for answer in answers] == ["ok", "ok"]
    assert model.model._local_file_count == 2  # type: ignore[attr-defined]


def test_from_log_finds_its_answers_by_task_and_row(tmp_path: Path) -> None:
    model = resolve_model(recorded(tmp_path, "toy", rows=4), batch_size=8)
    assert [answer.text for answer in ask(model, requests())] == [f"answer {index}" for index in range(4)]


def recorded(folder: Path, task: str, rows: int, word: str = "answer") -> str:
    """What follows ``--model`` for answers that lmms-eval recorded; row 7's is "answer 7"."""
    logs = [{"doc_id": row, "resps": [[f"{word} {row}"]]} for row in range(rows)]
    log = {"args": {"model": "m", "model_args": "", "limit": None}, "logs": logs, "model_configs": {"task": task}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{task}.json").write_text(json.dumps(log))
    return f"lmms:from_log,logs={folder}"


def test_rows_keep_their_numbers_over_batches_and_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "datasets"))
    name = recorded(tmp_path / "logs", "lladav_pocket_choice", rows=300)
    spec = RunSpec(tasks=("lladav_pocket_choice",), model=name, limit=20, batch_size=8)
    directory = RunDirectory(tmp_path / "run")

    def texts() -> list[str]:
        execute(spec, lambda: resolve_model(name, batch_size=8), directory)
        return [json.loads(line)["text"] for line in directory.samples.read_text().splitlines()]

    expected = [f"answer {row}" for row in range(20)]
    assert texts() == expected
    lines = directory.journal.read_bytes().splitlines(keepends=True)
    directory.journal.write_bytes(b"".join(lines[:3] + lines[9:12]))
    assert texts() == expected


def test_rows_of_several_tasks_find_each_their_own(tmp_path: Path) -> None:
    recorded(tmp_path, "a", rows=9, word="of a")
    model = resolve_model(recorded(tmp_path, "b", rows=9, word="of b"), batch_size=8)
    asked = [Question(task, row, Request("?"), PARAMS) for task, row in (("a", 3), ("b", 8), ("a", 0), ("b", 3))]
    assert [answer.text for answer in model.answer(asked)] == ["of a 3", "of b 8", "of a 0", "of b 3"]


def test_our_plugin_gives_what_the_native_door_gives(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path)
    through = resolve_model(f"lmms:lladav,pretrained={checkpoint}", "cpu", batch_size=2)
    native = lladav_eval.load(checkpoint, device="cpu").generate(requests(), PARAMS)
    assert [answer.text for answer in ask(through, requests())] == [answer.text for answer in native]


@pytest.mark.usefixtures("_toy_chat")
def test_a_chat_model_gets_messages_and_its_counts_are_kept() -> None:
    model = resolve_model("lmms:toy_chat,prefix=saw_", batch_size=4)
    assert isinstance(model, RegisteredAnswerer)
    answers = ask(model, requests())
    assert [answer.text for answer in answers] == [
        "saw_image text 8",
        "saw_image image text 8",
        "saw_image image text 8",
        "saw_text 8",
    ]
    assert {(answer.prompt_tokens, answer.output_tokens) for answer in answers} == {(5, 2)}


@pytest.mark.usefixtures("_toy_chat")
def test_what_breaks_a_model_fails_one_sample() -> None:
    model = resolve_model("lmms:toy_chat", batch_size=8)
    answers = ask(model, [Request("a"), Request("break"), Request("c"), Request("d")])
    assert [answer.status for answer in answers] == ["ok", "failed", "ok", "ok"]
    assert "ZeroDivisionError: a bug of the model" in (answers[1].error or "")
    assert model.model.seen == [4, 2, 1, 1, 2]  # type: ignore[attr-defined]


def test_unreadable_media_fail_one_sample(tmp_path: Path) -> None:
    model = resolve_model("lmms:dummy", batch_size=4)
    answers = ask(model, [Request("a"), Request("b", video=tmp_path / "gone.mp4"), Request("c")])
    assert [answer.status for answer in answers] == ["ok", "failed", "ok"]
    assert "gone.mp4" in (answers[1].error or "")


def test_fingerprints_follow_the_arguments() -> None:
    first, same, other = (resolve_model(f"lmms:dummy,response={word}") for word in ("A", "A", "B"))
    assert first.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize("changed", ["weights.pt", "tokenizer/merges.txt", "linked/adapter.bin"])
def test_fingerprints_follow_every_file_of_a_directory(tmp_path: Path, changed: str) -> None:
    folder = tmp_path / "model"
    for file in (folder / "weights.pt", folder / "tokenizer" / "merges.txt", tmp_path / "elsewhere" / "adapter.bin"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("before")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "linked" / "back").symlink_to(folder)
    name = f"lmms:dummy,response={folder}"
    before = resolve_model(name).fingerprint
    (folder / "tokenizer" / "__pycache__").mkdir()
    (folder / "tokenizer" / "__pycache__" / "x.pyc").write_text("written by running it")
    assert resolve_model(name).fingerprint == before
    (folder / changed).write_text("behind")
    assert resolve_model(name).fingerprint != before


def test_fingerprints_follow_files_libraries_and_the_hubs_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    from lladav_eval.adapters import registered

    file, ref = tmp_path / "prompts.txt", tmp_path / "hub" / "models--some--model" / "refs" / "main"
    ref.parent.mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    file.write_text("before")
    seen = [resolve_model(f"lmms:dummy,response={file}").fingerprint]
    file.write_text("behind")
    seen.append(resolve_model(f"lmms:dummy,response={file}").fingerprint)
    for commit in ("", "a" * 40, "b" * 40):
        ref.write_text(commit)
        seen.append(resolve_model("lmms:dummy,response=some/model").fingerprint)
    real = registered.version
    monkeypatch.setattr(registered, "version", lambda name: "another" if name == "transformers" else real(name))
    seen.append(resolve_model("lmms:dummy,response=some/model").fingerprint)
    assert len(set(seen)) == len(seen)


def test_a_file_of_the_model_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "weights.bin").write_text("x")
    model = resolve_model(f"lmms:dummy,response={tmp_path}")
    monkeypatch.setattr(os.path, "getsize", refuse)
    with pytest.raises(EnvironmentError_, match=r"weights\.bin can't be read \(Permission denied\): allow it"):
        _ = model.fingerprint


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("lmms:no_such_model", UsageError, "no such model"),
        ("lmms:dummy,response", UsageError, "key=value"),
        ("lmms:dummy,api_key=abc", UsageError, "environment"),
        ("lmms:dummy,apikey=abc", UsageError, "environment"),
        ("lmms:mmada,pretrained=/nowhere,continual_mode=False", CheckpointError, "can't be made"),
        ("lmms:lladav,pretrained=/nowhere/at/all", UsageError, "no such directory"),
    ],
)
def test_what_cannot_be_had_says_so(
    name: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # mmada writes a log folder where it stands
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message) as caught:
        resolve_model(name)
    assert "abc" not in str(caught.value)


def test_settings_no_lmms_model_knows_are_refused() -> None:
    with pytest.raises(SettingError, match="cfg_scale"):
        ask(resolve_model("lmms:dummy"), requests(), SamplingParams(4, 4, 4, cfg_scale=1.0))
