"""Tasks whose own functions ask a judge: refused where there is no key, before a model is loaded."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy

from lladav_eval.errors import EnvironmentError_, TaskError
from lladav_eval.records import RunSpec
from lladav_eval.runs.execute import execute
from lladav_eval.runs.own_judges import KEYS, JudgeAsked, without_judges
from lladav_eval.runs.store import RunDirectory

SPEC = RunSpec(tasks=("lladav_toy_a",), model="toy", max_failures="100%")
ASKS = """
import socket
from concurrent.futures import ThreadPoolExecutor

def ask(text, host="api.openai.com"):
    for _ in range(3):
        try:
            return socket.getaddrinfo(host, 443)
        except Exception:
            continue
    return None

def ask_in_a_thread(text):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask, text, b"mine.openai.azure.com").result()

def swallow(text):
    try:
        ask(text)
    except BaseException:
        pass

def is_colour(text):
    return text in ("red", "green", "blue", "purple")

one = process_results
"""
IN_RESULTS = """
def process_results(doc, results):
    print("noise")
    if {condition}:
        {call}(results[0])
    return {{**one(doc, results), "odd": 0.0}}
"""
IN_AGGREGATION = """
def process_results(doc, results):
    return {"accuracy": {"text": results[0], "right": results[0] == doc["answer"]}}

def mean(items):
    for item in items:
        if not is_colour(item["text"]):
            ask(item["text"])
    return sum(item["right"] for item in items) / len(items)
"""


@pytest.fixture
def looked_up(tasks: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The hosts of look-ups that went through; there is no network and no key."""
    found: list[Any] = []

    def look_up(host: Any, *arguments: Any, **options: Any) -> list[Any]:
        found.append(host)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for name in (*KEYS, "Deepseek_API", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return found


def add(tasks: Path, functions: str) -> None:
    with (tasks / "toy_functions.py").open("a") as file:
        file.write(ASKS + functions)


def refused() -> toy.ToyModel:
    raise AssertionError("the model was loaded")


@pytest.mark.parametrize(
    ("functions", "host", "key"),
    [
        (IN_RESULTS.format(condition="not is_colour(results[0])", call="ask"), "api.openai.com", "OPENAI_API_KEY"),
        (
            IN_RESULTS.format(condition="doc['row'] == 3", call="ask_in_a_thread"),
            "mine.openai.azure.com",
            "OPENAI_API_KEY",
        ),
        (IN_RESULTS.format(condition="True", call="swallow"), "api.openai.com", "OPENAI_API_KEY"),
        (IN_AGGREGATION, "api.openai.com", "OPENAI_API_KEY"),
        (
            IN_AGGREGATION.replace('ask(item["text"])', 'ask("", "api.deepseek.com")'),
            "api.deepseek.com",
            "Deepseek_API",
        ),
    ],
)
def test_without_a_key_the_task_is_refused(
    tmp_path: Path, tasks: Path, looked_up: list[Any], functions: str, host: str, key: str
) -> None:
    add(tasks, functions)
    look_up = socket.getaddrinfo
    message = f"^the task lladav_toy_a leaves answers to a judge at {host}, and there is no key for one: set {key}$"
    with pytest.raises(EnvironmentError_, match=message):
        execute(SPEC, refused, RunDirectory(tmp_path / "run"))
    assert not any(host in str(found) for found in looked_up)  # others are of the data set
    assert socket.getaddrinfo is look_up
    assert not (tmp_path / "run").exists()


def test_with_a_key_the_judge_is_asked(
    tmp_path: Path, tasks: Path, looked_up: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tasks, IN_AGGREGATION)
    monkeypatch.setenv("OPENAI_API_KEY", "made-up")
    execute(SPEC, lambda: toy.ToyModel(say={1: "?"}), RunDirectory(tmp_path / "run"))
    assert "api.openai.com" in looked_up


def test_each_judge_has_its_own_key(looked_up: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "made-up")
    with without_judges() as asked, pytest.raises(JudgeAsked, match="set Deepseek_API"):
        socket.getaddrinfo("api.deepseek.com", 443)
    monkeypatch.setenv("Deepseek_API", "made-up")
    monkeypatch.delenv("OPENAI_API_KEY")
    with without_judges(), pytest.raises(OSError, match="no network"):
        socket.getaddrinfo("api.deepseek.com", 443)
    assert (asked, looked_up) == (["api.deepseek.com"], ["api.deepseek.com"])


@pytest.mark.parametrize("host", ["localhost", "openai.com", "api.openai.com.example.org", "huggingface.co"])
def test_other_addresses_are_looked_up(looked_up: list[Any], host: str) -> None:
    with without_judges() as asked, pytest.raises(OSError, match="no network"):
        socket.getaddrinfo(host, 443)
    assert (looked_up, asked) == ([host], [])


@pytest.mark.parametrize("key", ["", "made-up"])
def test_offline_nobody_is_asked(looked_up: list[Any], monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for host in ("example.org", "api.openai.com"):
        with without_judges(), pytest.raises(JudgeAsked):
            socket.getaddrinfo(host, 443)
    with without_judges(), pytest.raises(OSError, match="no network"):
        socket.getaddrinfo("localhost", 8000)
    assert looked_up == ["localhost"]


def test_trying_a_task_out_sends_nothing_anywhere(tmp_path: Path, tasks: Path, looked_up: list[Any]) -> None:
    """EgoSchema's aggregation posts all answers to a public server: once there are some, and not before."""
    add(tasks, "\ndef mean(items):\n    ask('', 'scores.example.org')\n    return sum(items) / len(items)\n")
    seen: list[bool] = []

    def load() -> toy.ToyModel:
        seen.append("scores.example.org" in looked_up)
        return toy.ToyModel()

    execute(SPEC, load, RunDirectory(tmp_path / "run"))
    assert (seen, "scores.example.org" in looked_up) == ([False], True)


def test_contexts_may_overlap(looked_up: list[Any]) -> None:
    look_up = socket.getaddrinfo
    first, second = without_judges(), without_judges()
    one, two = first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    with pytest.raises(JudgeAsked):
        socket.getaddrinfo("api.openai.com", 443)
    second.__exit__(None, None, None)
    assert (one, two, looked_up, socket.getaddrinfo) == ([], ["api.openai.com"], [], look_up)


def test_an_answer_that_shows_it_only_in_the_run_fails_alone(
    tmp_path: Path, tasks: Path, looked_up: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    add(tasks, IN_RESULTS.format(condition="doc['row'] == 7", call="ask"))
    result = execute(SPEC, toy.ToyModel, RunDirectory(tmp_path / "run"))
    reason = (
        "scoring failed: JudgeAsked: it asks a judge at api.openai.com, and there is no key for one: set OPENAI_API_KEY"
    )
    assert result.failed == 1
    assert reason in (tmp_path / "run/samples.jsonl").read_text()
    assert "noise" not in capfd.readouterr().out


def test_an_aggregation_that_shows_it_only_in_the_run_is_one_line(
    tmp_path: Path, tasks: Path, looked_up: list[Any]
) -> None:
    add(tasks, IN_AGGREGATION.replace('not is_colour(item["text"])', 'item["text"] == "mauve"'))
    model = toy.ToyModel(say={0: "mauve"})
    with pytest.raises(TaskError, match=r"aggregation failed: JudgeAsked: it asks a judge at api\.openai\.com, and"):
        execute(replace(SPEC, limit=2), lambda: model, RunDirectory(tmp_path / "run"))
