"""The judge client against a real server that misbehaves on purpose."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chat_server import Behaviour, ChatServer, completion, serve

from lladav_eval.adapters.chat_reply import RequestRejected
from lladav_eval.adapters.judge import Endpoint, Judge, Patience
from lladav_eval.errors import EnvironmentError_, EvalError, UsageError

KEY = "sk-very-secret-0123456789"
QUICK = Patience(attempts=4, first_wait=0.01, longest_wait=1.5, timeout=0.5)


def status(code: int, body: str = "{}", **headers: str) -> Behaviour:
    return code, {name.replace("_", "-"): value for name, value in headers.items()}, body


def repeat(body: dict[str, Any], seconds: float = 0.0) -> str:
    time.sleep(seconds)
    return f"re: {body['messages'][-1]['content']}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """Replies "re: <prompt>" unless told otherwise; no key is in the environment."""
    for name in ("LLADAV_EVAL_JUDGE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with serve(respond=repeat) as running:
        yield running


def prompts_of(server: ChatServer) -> list[str]:
    return [request["messages"][-1]["content"] for request in server.requests]


def judge(server: ChatServer, tmp_path: Path, **options: Any) -> Judge:
    return Judge(Endpoint("judge", server.url), tmp_path / "judge.jsonl", **{"patience": QUICK, **options})


def test_replies_come_in_order_and_are_never_asked_twice(server: ChatServer, tmp_path: Path) -> None:
    first = judge(server, tmp_path, patience=Patience())  # on a busy machine half a second may be too short
    prompts = [f"prompt {index % 7}" for index in range(20)]
    replies = first.ask_all(prompts)
    assert [answer.text for answer in replies] == [f"re: {prompt}" for prompt in prompts]
    assert len(server.requests) == first.calls == 7
    assert (replies[0].model, replies[0].served_model) == ("judge", "served-2026")
    again = judge(server, tmp_path)
    assert again.is_stored("prompt 3")
    assert not again.is_stored("prompt 3", system="other")
    assert again.ask_all(prompts) == replies
    assert (again.calls, len(server.requests)) == (0, 7)
    assert server.requests[0]["path"] == "/v1/chat/completions"
    assert (server.requests[0]["model"], server.requests[0]["temperature"]) == ("judge", 0)


def test_an_answer_with_half_of_a_surrogate_pair_can_be_judged(server: ChatServer, tmp_path: Path) -> None:
    assert judge(server, tmp_path).ask("answer \ud83d").text == "re: answer \ud83d"
    assert judge(server, tmp_path).is_stored("answer \ud83d")


def test_what_changes_the_reply_is_part_of_the_key(server: ChatServer, tmp_path: Path) -> None:
    judge(server, tmp_path).ask("a")
    judge(server, tmp_path).ask("a", system="be brief")
    judge(server, tmp_path, max_tokens=4).ask("a")
    Judge(Endpoint("other", server.url), tmp_path / "judge.jsonl").ask("a")
    assert len(server.requests) == 4
    assert [body["messages"][0]["role"] for body in server.requests] == ["user", "system", "user", "user"]


@pytest.mark.parametrize(
    "trouble",
    [
        [status(429), status(500), status(503)],
        ["slow"],
        ["cut", "cut"],
        [status(200, "<html>"), status(200, '{"choices": []}'), status(200, "[]")],
        [status(200, completion(None))],
    ],
    ids=["status", "slow", "cut", "invalid", "no text"],
)
def test_what_passes_is_tried_again(server: ChatServer, tmp_path: Path, trouble: list[Any]) -> None:
    server.behaviours = list(trouble)
    asked = judge(server, tmp_path)
    assert asked.ask("a").text == "re: a"
    assert len(server.requests) == asked.calls == len(trouble) + 1
    assert len((tmp_path / "judge.jsonl").read_text().splitlines()) == 1


def test_retry_after_is_obeyed_in_seconds_and_as_a_date(server: ChatServer, tmp_path: Path) -> None:
    server.behaviours = [
        status(429, Retry_After="0.4"),
        status(429, Retry_After=formatdate(time.time() + 2.6, usegmt=True)),
    ]
    judge(server, tmp_path).ask("a")
    first, second = (later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False))
    assert first >= 0.4
    assert 0.5 <= second <= 3.5, "capped at the longest wait, which is 1.5 s plus a quarter"


def test_waits_grow(server: ChatServer, tmp_path: Path) -> None:
    server.behaviours = [status(500)] * 3
    judge(server, tmp_path, patience=Patience(attempts=4, first_wait=0.1, longest_wait=5)).ask("a")
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4


def test_a_judge_that_keeps_failing_is_one_error_and_what_came_is_kept(server: ChatServer, tmp_path: Path) -> None:
    asked = judge(server, tmp_path, concurrency=1)
    server.behaviours = [status(200, completion("fine")), *[status(500)] * 9]
    with pytest.raises(
        EnvironmentError_, match=r"no usable reply in 4 attempts \(status 500: \{\}\).*run the command again"
    ) as caught:
        asked.ask_all(["a", "b", "c", "d"])
    assert caught.value.exit_code == 3
    assert asked.calls == 5, "the others are not asked any more"
    server.behaviours = []
    assert [answer.text for answer in judge(server, tmp_path).ask_all(["a", "b"])] == ["fine", "re: b"]


def test_the_error_that_stopped_the_others_is_the_one_told(server: ChatServer, tmp_path: Path) -> None:
    def refuse_late() -> Behaviour:
        time.sleep(0.2)
        return status(401)

    server.behaviours = [status(500)] * 3 + [refuse_late]
    patience = Patience(attempts=4, first_wait=5, longest_wait=5, timeout=2)
    begin = time.monotonic()
    with pytest.raises(EnvironmentError_, match="a key is wanted"):
        judge(server, tmp_path, patience=patience, concurrency=4).ask_all(list("abcd"))
    assert time.monotonic() - begin < 4, "nobody waits to the end once it is clear"


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError_, match="gave no usable reply"):
        Judge(Endpoint("judge", "http://127.0.0.1:9/v1"), tmp_path / "j.jsonl", patience=QUICK).ask("a")
    assert not (tmp_path / "j.jsonl").exists()


def test_no_more_than_the_allowed_requests_at_once(server: ChatServer, tmp_path: Path) -> None:
    server.respond = partial(repeat, seconds=0.05)
    judge(server, tmp_path, concurrency=3).ask_all([str(index) for index in range(12)])
    assert server.most_in_flight == 3


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (401, EnvironmentError_, "the key is refused"),
        (403, EnvironmentError_, "the key is refused"),
        (404, UsageError, "no such address or model"),
        (400, RequestRejected, "rejects the request"),
        (307, UsageError, r"redirects \(status 307, http://127.0.0.1:9/elsewhere\)"),
    ],
)
def test_what_does_not_pass_is_not_tried_again_and_the_key_stays_secret(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    code: int, kind: type[EvalError], message: str,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LLADAV_EVAL_JUDGE_KEY", KEY)
    asked = judge(server, tmp_path)
    asked.ask("fine")
    server.behaviours = [status(code, f"your key {KEY} is\nbad", Location="http://127.0.0.1:9/elsewhere")]
    with pytest.raises(kind, match=message) as caught:
        asked.ask("a")
    assert asked.calls == 2
    assert set(server.keys) == {f"Bearer {KEY}"}
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error!s} {error!r}"
        error = error.__cause__ or error.__context__
    assert "\n" not in str(caught.value)
    everything = caplog.text + repr(asked) + repr(vars(asked)) + (tmp_path / "judge.jsonl").read_text()
    assert KEY not in everything


@pytest.mark.parametrize(
    ("code", "body", "said"),
    [
        (
            200,
            '{"error": {"message":\n"too busy"}}',
            '(a reply that is not a chat completion: {"error": {"message": "too busy"}});',
        ),
        (200, " ", "(a reply that is not a chat completion);"),
        (503, f"no engine for {KEY}", "(status 503: no engine for ***);"),
        (413, "", "rejects the request (status 413); "),
        (302, "", "redirects (status 302, no address); "),
    ],
)
def test_what_a_failing_endpoint_says_is_told(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, body: str, said: str
) -> None:
    monkeypatch.setenv("LLADAV_EVAL_JUDGE_KEY", KEY)
    server.behaviours = [status(code, body)] * QUICK.attempts
    with pytest.raises(EvalError) as caught:
        judge(server, tmp_path).ask("a")
    assert said in f"{caught.value}; "


def test_a_judge_that_rejects_the_first_request_of_all_is_wrong_usage(server: ChatServer, tmp_path: Path) -> None:
    server.behaviours = [status(400)]
    with pytest.raises(UsageError, match="rejects the request"):
        judge(server, tmp_path).ask("a")


def test_a_judge_that_refuses_fields_is_asked_without_and_the_key_stays(server: ChatServer, tmp_path: Path) -> None:
    length = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    temperature = "Unsupported value: 'temperature' does not support 0 with this model."
    server.behaviours = [status(400, length), status(400, temperature)]
    asked = judge(server, tmp_path, concurrency=1, max_tokens=7)
    assert [reply.text for reply in asked.ask_all(["a", "b"])] == ["re: a", "re: b"]
    fields = ("max_tokens", "max_completion_tokens", "temperature")
    assert [tuple(body.get(field) for field in fields) for body in server.requests] == [
        (7, None, 0),
        (None, 7, 0),
        (None, 7, None),
        (None, 7, None),
    ]
    fresh = judge(server, tmp_path, max_tokens=7)
    assert fresh.is_stored("a")
    assert [reply.text for reply in fresh.ask_all(["b", "c"])] == ["re: b", "re: c"]
    assert (prompts_of(server)[4:], server.requests[4]["max_tokens"]) == (["c"], 7)


def test_equal_prompts_at_the_same_time_share_one_reply(server: ChatServer, tmp_path: Path) -> None:
    server.respond = partial(repeat, seconds=0.1)
    asked = judge(server, tmp_path)
    with ThreadPoolExecutor(6) as pool:
        texts = [reply.text for reply in pool.map(asked.ask, ["same"] * 6)]
    assert texts == ["re: same"] * 6
    assert asked.calls == 1
    assert len((tmp_path / "judge.jsonl").read_text().splitlines()) == 1


def test_another_attempt_and_another_judge_are_asked_anew(server: ChatServer, tmp_path: Path) -> None:
    asked = judge(server, tmp_path)
    asked.ask("a")
    asked.ask("a", attempt=1)
    asked.ask("a", attempt=1)
    assert asked.calls == 2
    assert judge(server, tmp_path).is_stored("a", attempt=1)
    elsewhere = Judge(Endpoint.parse("toy@http://127.0.0.1:9/v1"), tmp_path / "judge.jsonl")
    assert not elsewhere.is_stored("a")


def test_the_key_comes_from_either_variable_or_is_absent(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(server, tmp_path).ask("a")
    monkeypatch.setenv("OPENAI_API_KEY", "second")
    judge(server, tmp_path).ask("b")
    monkeypatch.setenv("LLADAV_EVAL_JUDGE_KEY", "first")
    judge(server, tmp_path).ask("c")
    assert set(server.keys) == {None, "Bearer second", "Bearer first"}
    monkeypatch.setenv("LLADAV_EVAL_JUDGE_KEY", "two\nlines")
    with pytest.raises(UsageError, match="characters that no key has") as caught:
        judge(server, tmp_path).ask("d")
    assert "lines" not in str(caught.value)


def test_a_reply_that_was_cut_off_is_asked_again(server: ChatServer, tmp_path: Path) -> None:
    judge(server, tmp_path).ask_all(["a", "b"])
    path = tmp_path / "judge.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    again = judge(server, tmp_path)
    assert len(again.ask_all(["a", "b"])) == 2
    assert again.calls == 1
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 2


def test_a_store_that_is_something_else(server: ChatServer, tmp_path: Path) -> None:
    (tmp_path / "judge.jsonl").write_text('{"key": "x"}\n')
    with pytest.raises(UsageError, match=r"judge\.jsonl, line 1 is not a judge's reply"):
        judge(server, tmp_path)
    assert (tmp_path / "judge.jsonl").read_text() == '{"key": "x"}\n'


@pytest.mark.parametrize(
    ("text", "model", "url"),
    [
        ("gpt-4o-mini@https://host/v1", "gpt-4o-mini", "https://host/v1"),
        ("org/model@2024@http://127.0.0.1:8000/v1/", "org/model@2024", "http://127.0.0.1:8000/v1"),
        ("m@http://host/v1/chat/completions", "m", "http://host/v1"),
    ],
)
def test_endpoints(text: str, model: str, url: str) -> None:
    assert Endpoint.parse(text) == Endpoint(model, url)


@pytest.mark.parametrize(
    "text", ["gpt-4o", "@http://host", "m@ftp://host", "m@http://", "m@http://host:99999/v1", "m@http:///v1", ""]
)
def test_names_that_are_no_judge(text: str) -> None:
    with pytest.raises(UsageError, match="give MODEL@URL"):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    "text", ["m@https://user:hunter2@host/v1", "m@https://host/v1?key=hunter2", "m@https://host/#hunter2"]
)
def test_passwords_in_the_address_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="no password, query or fragment") as caught:
        Endpoint.parse(text)
    assert "hunter2" not in str(caught.value)
