"""Our lmms-eval model: every kind of request lmms-eval makes, for text, images and video."""

from __future__ import annotations

import sys
from copy import deepcopy
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from lmms_eval.api.instance import Instance, unwrap_generation_output
from PIL import Image
from tiny_checkpoint import write_checkpoint

from lladav_eval import Request, SamplingParams
from lladav_eval.adapters.lmms import Lladav
from lladav_eval.errors import SettingError

SETTINGS = {"gen_length": 4, "block_length": 4, "steps": 4, "think_mode": "no_think", "until": ["\n\n"]}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for value in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), value * 40, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def picture(value: int) -> Image.Image:
    return Image.new("RGB", (20, 16), (value, 255 - value, 7))


def documents(clip: str) -> list[dict[str, Any]]:
    return [
        {"question": "Read the digits.", "visuals": [picture(10)]},
        {"question": "Which image shows a digit?", "visuals": [picture(90), picture(200)]},
        {"question": "Which way does the digit move?", "visuals": [clip]},
        {"question": "List each digit", "visuals": []},
    ]


def adapter(checkpoint: Path, docs: list[dict[str, Any]], **arguments: Any) -> Lladav:
    model = Lladav(pretrained=str(checkpoint), **arguments)
    model.task_dict["toy"] = {"test": docs}
    return model


def instance(kind: str, *arguments: Any) -> Instance:
    metadata = {"task": "toy", "doc_id": arguments[-3], "repeats": 1}
    return Instance(request_type=kind, arguments=arguments, idx=0, metadata=metadata)


def visuals_of(doc: dict[str, Any]) -> list[Any]:
    return list(doc["visuals"])


def generation_requests(docs: list[dict[str, Any]], settings: dict[str, Any]) -> list[Instance]:
    return [
        instance("generate_until", doc["question"], dict(settings), visuals_of, index, "toy", "test")
        for index, doc in enumerate(docs)
    ]


def test_generate_until_equals_the_python_interface(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    model = adapter(checkpoint, docs, batch_size=2)
    answers = model.generate_until(generation_requests(docs, SETTINGS))
    requests = [
        Request(docs[0]["question"], (picture(10),), mode="no_think"),
        Request(docs[1]["question"], (picture(90), picture(200)), mode="no_think"),
        Request(docs[2]["question"], video=clip, mode="no_think"),
        Request(docs[3]["question"], mode="no_think"),
    ]
    expected = model.model.generate(requests, SamplingParams(4, 4, 4), batch_size=1)
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
    assert [answer.token_counts.output_tokens for answer in answers] == [len(a.token_ids) for a in expected]


def test_requests_of_different_settings_keep_their_order(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    model = adapter(checkpoint, docs, batch_size=4)
    requests = generation_requests(docs, SETTINGS)
    for index in (0, 2):
        requests[index].arguments[1].update(gen_length=6, block_length=3, steps=2)
    mixed = [answer.text for answer in model.generate_until(requests)]
    alone = [model.generate_until([request])[0].text for request in requests]
    assert mixed == alone


def test_settings_given_to_the_model_override_the_task(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    changed = adapter(checkpoint, docs, gen_length=2, block_length=2, steps=1)
    answers = changed.generate_until(generation_requests(docs, SETTINGS))
    assert {answer.token_counts.output_tokens for answer in answers} <= {0, 1, 2}


def test_media_that_cant_be_shown_fail_their_own_sample_alone(
    checkpoint: Path, clip: str, caplog: pytest.LogCaptureFixture
) -> None:
    def show(doc: dict[str, Any]) -> Any:
        if doc["question"] == "exits":
            sys.exit("video path: x.mp4 does not exist, please check")
        return doc["visuals"]

    good = documents(clip)
    docs = [{"question": "gone", "visuals": ["gone.mp4"]}, good[0], {"question": "exits", "visuals": []}, good[3]]
    model = adapter(checkpoint, docs, batch_size=2)
    requests = generation_requests(docs, SETTINGS)
    for request in requests:
        request.arguments = (*request.arguments[:2], show, *request.arguments[3:])
    texts = [answer.text for answer in model.generate_until(requests)]
    alone = [model.generate_until([requests[index]])[0].text for index in (1, 3)]
    assert texts == ["", alone[0], "", alone[1]]
    assert "toy, row 0 failed: the video gone.mp4 is missing" in caplog.text
    assert "toy, row 2 failed: doc_to_visual failed: video path: x.mp4 does not exist" in caplog.text


def test_media_are_opened_while_the_model_answers(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = [{"question": f"Read {index}", "visuals": [picture(index)]} for index in range(20)]
    opened: list[str] = []
    model = adapter(checkpoint, docs, batch_size=2)
    requests = generation_requests(docs, SETTINGS)
    for request in requests:
        show = lambda doc: opened.append(doc["question"]) or doc["visuals"]  # noqa: E731
        request.arguments = (*request.arguments[:2], show, *request.arguments[3:])
    stream, before_the_first = model.model.stream, []

    def watched(*asked: Any, **settings: Any) -> Any:
        for finished in stream(*asked, **settings):
            before_the_first.append(len(opened))
            yield finished

    monkeypatch.setattr(model.model, "stream", watched)
    assert len(model.generate_until(requests)) == 20
    assert before_the_first[0] < 20 == len(opened)


def test_unknown_setting_raises_and_names_it(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    with pytest.raises(SettingError, match="stepz"):
        adapter(checkpoint, docs).generate_until(generation_requests(docs, {**SETTINGS, "stepz": 3}))
    with pytest.raises(TypeError, match="stepz"):
        adapter(checkpoint, docs, stepz=3)


def test_multi_round_plays_until_the_task_says_stop(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    seen: list[list[str]] = []

    def doc_to_text(doc: Any, previous_output: list[str], round_idx: int, previous_round_info: Any) -> Any:
        seen.append(previous_output)
        return [picture(round_idx)], f"Read the digits. {round_idx}", round_idx == 2, previous_output, round_idx

    model = adapter(checkpoint, docs)
    request = instance(
        "generate_until_multi_round", docs[0]["question"], SETTINGS, visuals_of, doc_to_text, 0, "toy", "test"
    )
    rounds = model.generate_until_multi_round([request])
    assert len(rounds) == 1
    assert len(rounds[0]) == 2
    assert seen[-1] == rounds[0]
    assert rounds[0][0] == model.generate_until(generation_requests(docs[:1], SETTINGS))[0].text


def test_multi_round_hands_back_what_the_task_made_of_the_answers(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    seen: list[list[str]] = []

    def doc_to_text(doc: Any, previous_output: list[str], round_idx: int, previous_round_info: Any) -> Any:
        seen.append(previous_output)
        return ["gone.mp4"], "And now?", round_idx == 2, [f"{text}!" for text in previous_output], None

    model = adapter(checkpoint, docs)
    arguments = (docs[0]["question"], SETTINGS, visuals_of, doc_to_text, 0, "toy", "test")
    rounds = model.generate_until_multi_round([instance("generate_until_multi_round", *arguments)])
    first = seen[0][0]
    assert seen == [[first], [f"{first}!", ""]]  # the second round's video is missing
    assert rounds == [[f"{first}!!", "!"]]


def test_loglikelihood_of_every_kind_of_input_is_seeded_and_reported(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    model = adapter(checkpoint, docs, mc_num=8, seed=4)
    requests = [
        instance("loglikelihood", doc["question"], "left right", visuals_of, index, "toy", "test")
        for index, doc in enumerate(docs)
    ]
    results = model.loglikelihood(requests)
    assert all(value > 0 and greedy is False for value, greedy in results)
    assert [estimate.draws for estimate in model.log_likelihoods] == [8] * 4
    assert all(estimate.standard_error > 0 for estimate in model.log_likelihoods)
    assert results == model.loglikelihood(requests)


def test_greedy_answer_is_recognised_as_such(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    model = adapter(checkpoint, docs)
    candidates = [f" {word}" for word in ("left", "right", "up", "down", "red", "green", "blue", "yellow")] + list(
        "0123456789"
    )
    request = instance("loglikelihood", "List each digit", "", visuals_of, 3, "toy", "test")
    likelihoods = {}
    for word in candidates:
        request.arguments = ("List each digit", word, visuals_of, 3, "toy", "test")
        likelihoods[word] = model.loglikelihood([request])[0]
    greedy = model.model.generate([Request("List each digit")], SamplingParams(1, 1, 1))[0].token_ids
    for word, (value, is_greedy) in likelihoods.items():
        assert is_greedy == (tuple(model.model.tokenizer.encode(word)) == greedy)
        if is_greedy:
            assert value == min(v for v, _ in likelihoods.values())


def test_a_likelihood_is_a_loss_for_options_and_reaches_lmms_evals_scoring_whole(checkpoint: Path, clip: str) -> None:
    docs = documents(clip)
    model = adapter(checkpoint, docs, mc_num=4)
    option = instance("loglikelihood", "Read the digits.", "left right", visuals_of, 0, "toy", "test")
    target = instance("loglikelihood", "Read the digits.", lambda doc: "left right", visuals_of, 0, "toy", "test")
    (loss, greedy), (log_likelihood, _) = model.loglikelihood([option, target])
    tokens = len(model.model.tokenizer.encode("left right"))
    assert tokens > 1
    assert loss * tokens == pytest.approx(-log_likelihood)
    found = model.loglikelihood([option])[0]
    assert unwrap_generation_output(found) == unwrap_generation_output(deepcopy(found)) == ((loss, greedy), None)


def test_lmms_eval_finds_the_plugin() -> None:
    found = [entry for entry in entry_points(group="lmms_eval.models") if entry.name == "lladav"]
    assert len(found) == 1
    manifest = found[0].load()()
    assert manifest.model_id == "lladav"
    assert manifest.simple_class_path == "lladav_eval.adapters.lmms.Lladav"


def test_device_rank_and_world_size_are_there_for_lmms_eval(checkpoint: Path) -> None:
    model = adapter(checkpoint, [])
    assert (model.rank, model.world_size, model.device.type in ("cpu", "cuda")) == (0, 1, True)


def test_bad_batch_size_is_refused(checkpoint: Path) -> None:
    with pytest.raises(SettingError, match="batch_size=0"):
        adapter(checkpoint, [], batch_size=0)
