"""``openai:`` models against a real server on this machine that is slow, overloaded, broken and rude."""

from __future__ import annotations

import base64
import io
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_server import Behaviour, completion, serve
from PIL import Image

from lladav_eval.adapters.chat_client import Endpoint, Patience
from lladav_eval.adapters.endpoint import EndpointAnswerer
from lladav_eval.adapters.models import resolve_model
from lladav_eval.errors import EnvironmentError_, SettingError, UsageError
from lladav_eval.records import Generation, Question, Request, SamplingParams

PARAMS = SamplingParams(16, 16, 16, stop=("\n",))
QUICK = Patience(attempts=4, first_wait=0.01, longest_wait=0.3, timeout=30)  # a busy machine is no trouble
SECRET = "sk-very-secret-0123456789"


def asked(
    url: str,
    requests: list[Request],
    params: SamplingParams = PARAMS,
    concurrency: int = 4,
    patience: Patience = QUICK,
) -> list[Generation]:
    model = EndpointAnswerer(Endpoint("toy", url), concurrency, patience)
    return model.answer([Question("t", index, request, params) for index, request in enumerate(requests)])


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def test_text_usage_and_latency_are_recorded() -> None:
    def respond(body: dict[str, Any]) -> str:
        time.sleep(0.1)
        return "Yes."

    with serve(respond=respond) as server:
        answer = asked(server.url, [Request("Is it?")])[0]
        request = server.requests[0]
    assert (answer.text, answer.status, answer.stop_reason) == ("Yes", "ok", "stop")
    assert (answer.prompt_tokens, answer.output_tokens, answer.served_model) == (11, 3, "served-2026")
    assert 0.1 < answer.seconds < 60
    assert request["path"] == "/v1/chat/completions"
    assert request["messages"] == [{"role": "user", "content": "Is it?"}]
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("toy", 16, 0.0)
    assert request["stop"] == ["\n"]


def test_half_of_a_surrogate_pair_travels_as_it_is() -> None:
    """JSON lines can hold one, and no endpoint may end a run over it."""
    with serve(respond=lambda body: body["messages"][0]["content"]) as server:
        answers = asked(server.url, [Request("Is it \ud83d?"), Request("\u00e9\u4e2d")], concurrency=1)
    assert [answer.text for answer in answers] == ["Is it \ud83d?", "\u00e9\u4e2d"]


def test_images_and_frames_travel_as_data_urls_in_place(tmp_path: Path) -> None:
    first, second = Image.new("RGBA", (5, 4), (255, 0, 0, 255)), Image.new("L", (3, 3), 7)
    frames = tuple(Image.new("RGB", (8, 8), (value, 0, 0)) for value in (0, 100, 200))
    with serve() as server:
        asked(
            server.url,
            [Request("left <image> right <image>", (first, second)), Request("Which way?", video=frames, num_frames=3)],
            concurrency=1,
        )
        contents = [request["messages"][0]["content"] for request in server.requests]
    assert [part["type"] for part in contents[0]] == ["text", "image_url", "text", "image_url"]
    assert [part["type"] for part in contents[1]] == ["image_url"] * 3 + ["text"]
    kind, data = contents[0][1]["image_url"]["url"].split(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (kind, image.size, image.getpixel((0, 0))) == ("data:image/png", (5, 4), (255, 0, 0))
    assert contents[1][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_a_video_file_travels_as_its_frames(tmp_path: Path) -> None:
    import av
    import numpy as np

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for value in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), value * 30, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with serve() as server:
        answer = asked(server.url, [Request("Which way?", video=path, num_frames=4)])[0]
        parts = server.requests[0]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url"] * 4 + ["text"]
    data = [base64.b64decode(part["image_url"]["url"].split(";base64,")[1]) for part in parts[:4]]
    greys = [Image.open(io.BytesIO(image)).convert("L").getpixel((16, 16)) for image in data]
    assert greys == sorted(greys)
    assert greys[0] < 20
    assert greys[3] > 190  # the first and the last frame
    assert answer.media_seconds


@pytest.mark.parametrize(
    "trouble",
    ["slow", "cut", "invalid", "unlike", (429, {}, ""), (500, {}, "oops"), (503, {"Retry-After": "0"}, "")],
    ids=str,
)
def test_passing_trouble_is_waited_out(trouble: Behaviour) -> None:
    patience = replace(QUICK, timeout=1.0) if trouble == "slow" else QUICK
    with serve(trouble, trouble) as server:
        answers = asked(server.url, [Request("Is it?")], patience=patience)
        assert [answer.text for answer in answers] == ["Yes"]
        assert len(server.requests) == 3


def test_waits_grow_and_follow_retry_after() -> None:
    patience = Patience(first_wait=1.0, longest_wait=60.0)
    for attempt, base in enumerate((1, 2, 4, 8)):
        assert [patience.pause(attempt, None, share) for share in (0, 1)] == [base, base * 1.25]
    assert patience.pause(0, 7.0, 1.0) == 8.75
    assert patience.pause(30, None, 1.0) == 75
    with serve((429, {"Retry-After": "0.25"}, "")) as server:
        asked(server.url, [Request("Is it?")])
        assert server.times[1] - server.times[0] >= 0.25


def test_lasting_trouble_fails_the_sample_and_spares_the_others() -> None:
    def respond(body: dict[str, Any]) -> str:
        if "bad" in body["messages"][0]["content"]:
            raise RuntimeError  # the connection is cut
        return "fine"

    with serve(respond=respond) as server:
        answers = asked(server.url, [Request("good"), Request("bad"), Request("good")])
    assert [answer.status for answer in answers] == ["ok", "failed", "ok"]
    assert "4 attempts" in (answers[1].error or "")


def test_a_refused_request_fails_alone_and_at_once() -> None:
    with serve((400, {}, f"context too long for {SECRET}")) as server:
        answers = asked(server.url, [Request("long"), Request("short")], concurrency=1)
        assert [answer.status for answer in answers] == ["failed", "ok"]
        assert len(server.requests) == 2
    assert "context too long" in (answers[0].error or "")
    assert SECRET not in (answers[0].error or "")


def test_a_filtered_answer_is_a_failure_and_a_cut_one_is_not() -> None:
    filtered, cut = (200, {}, completion(None, "content_filter")), (200, {}, completion("long", "length"))
    with serve(filtered, cut) as server:
        answers = asked(server.url, [Request("a"), Request("b")], concurrency=1)
    assert [answer.status for answer in answers] == ["failed", "ok"]
    assert "content_filter" in (answers[0].error or "")
    assert answers[1].stop_reason == "length"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "thinking", "thinking": "..."}, {"type": "text", "text": "Y"}]}, "Y"),
        ({"content": [], "refusal": None}, ""),
        ({"content": None, "refusal": "I can't help with that"}, "I can't help with that"),
        ({"content": "Yes", "refusal": "No"}, "Yes"),
        ({"content": ["Yes"]}, None),
        ({"content": 1}, None),
    ],
)  # fmt: skip
def test_shapes_of_a_message(message: dict[str, Any], text: str | None) -> None:
    """A text, parts of one, a refusal; None is no chat completion, which is asked for again."""
    body = (200, {}, json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))
    with serve(body) as server:
        (answer,) = asked(server.url, [Request("a")])
        assert (answer.text, len(server.requests)) == (("Yes", 2) if text is None else (text, 1))


def test_stop_strings_hold_even_where_the_endpoint_ignores_them() -> None:
    params = SamplingParams(8, 8, 8, stop=("a", "b", "c", "d", "END"))
    with serve(respond=lambda body: "x END y") as server:
        assert asked(server.url, [Request("q")], params)[0].text == "x"
        assert server.requests[0]["stop"] == ["a", "b", "c", "d"]


def test_a_model_that_wants_the_other_length_name_gets_it() -> None:
    refusal = (400, {}, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    with serve(refusal) as server:
        answers = asked(server.url, [Request("a"), Request("b")], concurrency=1)
        assert [answer.text for answer in answers] == ["Yes", "Yes"]
        assert [("max_tokens" in r, "max_completion_tokens" in r) for r in server.requests] == [
            (True, False),
            (False, True),
            (False, True),
        ]


NO_TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported."
)


def test_a_model_that_refuses_temperature_0_answers_at_its_own() -> None:
    with serve((400, {}, json.dumps({"error": {"type": "x" * 300, "message": NO_TEMPERATURE}}))) as server:
        answers = asked(server.url, [Request("a"), Request("b")], concurrency=1)
        assert [answer.text for answer in answers] == ["Yes", "Yes"]
        assert ["temperature" in request for request in server.requests] == [True, False, False]


def test_a_temperature_that_was_asked_for_is_never_left_out() -> None:
    with serve(*[(400, {}, NO_TEMPERATURE)] * 9) as server:
        answer = asked(server.url, [Request("a")], SamplingParams(8, 8, 8, temperature=0.7))[0]
        assert len(server.requests) == 1
    assert "'temperature' does not support" in (answer.error or "")


def test_what_did_not_help_is_not_remembered() -> None:
    with serve(*[(400, {}, "'What temperature?' is too long for 'max_completion_tokens'")] * 2) as server:
        answers = asked(server.url, [Request("a"), Request("b")], concurrency=1)
        assert [answer.status for answer in answers] == ["failed", "ok"]
        assert [sorted(request.keys() & {"temperature", "max_tokens"}) for request in server.requests] == [
            ["max_tokens", "temperature"],
            [],
            ["max_tokens", "temperature"],
        ]


def test_requests_are_in_flight_together_up_to_the_bound() -> None:
    def respond(body: dict[str, Any]) -> str:
        time.sleep(0.1)
        return str(body["messages"][0]["content"])

    with serve(respond=respond) as server:
        answers = asked(server.url, [Request(str(number)) for number in range(9)], concurrency=3)
        assert server.most_in_flight == 3
    assert [answer.text for answer in answers] == [str(number) for number in range(9)]


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        ((401, {}, SECRET), EnvironmentError_, "the key is refused"),
        ((404, {}, ""), UsageError, "no such address or model"),
        (
            (308, {"Location": "https://new/v1?key=x"}, ""),
            UsageError,
            r"redirects \(status 308, https://new/v1\)",
        ),
        ((429, {}, ""), EnvironmentError_, "no usable reply in 4 attempts"),
    ],
    ids=["key", "address", "moved", "rate"],
)
def test_what_no_sample_can_help_stops_the_run(
    behaviour: Behaviour, error: type[Exception], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serve(*[behaviour] * 50) as server,
        caplog.at_level(logging.DEBUG),
        pytest.raises(error, match=message) as caught,
    ):
        asked(server.url, [Request("a")])
    assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text


def test_what_was_answered_before_the_end_is_given_out() -> None:
    fine = (200, {}, completion("fine"))
    with serve(fine, fine, (404, {}, "")) as server:
        model = EndpointAnswerer(Endpoint("toy", server.url), 1, QUICK)
        questions = [Question("t", index, Request("a"), PARAMS) for index in range(4)]
        given: list[tuple[int, Generation]] = []
        with pytest.raises(UsageError, match="no such address or model"):
            given.extend(answer for answers in model.stream(iter(questions)) for answer in answers)
        assert [(index, answer.text) for index, answer in given] == [(0, "fine"), (1, "fine")]
        assert len(server.requests) == 3


def test_an_address_where_nobody_listens_stops_the_run() -> None:
    with serve() as server:
        url = server.url
    with pytest.raises(EnvironmentError_, match="no usable reply in 4 attempts"):
        asked(url, [Request("a")])


def test_the_key_goes_into_the_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as server:
        model = EndpointAnswerer(Endpoint("toy", server.url), 1, QUICK)
        model.answer([Question("t", 0, Request("a"), PARAMS)])
        assert server.keys == [f"Bearer {SECRET}"]
        shown = model.name + model.fingerprint + str(model.description()) + repr(vars(model))
        assert SECRET not in shown
        monkeypatch.delenv("OPENAI_API_KEY")
        model.answer([Question("t", 0, Request("a"), PARAMS)])
        assert server.keys[1] is None


@pytest.mark.parametrize("address", ["http://user:pw@host/v1", "http://host/v1?key=pw", "http://host/v1#pw"])
def test_addresses_with_secrets_are_refused_without_repeating_them(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_model(f"openai:toy@{address}")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["toy", "@http://host", "toy@ftp://host", "toy@http://", "toy@http://host:99999999"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="MODEL@URL"):
        resolve_model(f"openai:{text}")


def test_the_name_leads_here_and_settings_are_checked() -> None:
    model = resolve_model("openai:org/toy@http://127.0.0.1:9/v1/chat/completions", batch_size=3)
    assert isinstance(model, EndpointAnswerer)
    assert model.fingerprint == "openai/org/toy@http://127.0.0.1:9/v1"
    with pytest.raises(SettingError, match="diffusion"):
        model.answer([Question("t", 0, Request("a"), SamplingParams(4, 4, 4, suffix="x"))])
    with pytest.raises(SettingError, match="--device"):
        resolve_model("openai:toy@http://host", device="cpu")
    with pytest.raises(SettingError, match="network"):
        resolve_model("openai:toy@http://host", offline=True)
