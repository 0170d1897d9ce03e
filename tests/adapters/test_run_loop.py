"""Models that aren't ours through the whole run loop: journal and resume per batch, statuses, times, usage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_server import serve
from lmms_eval.models.simple.dummy import Dummy

from lladav_eval.adapters.chat_client import Endpoint, Patience
from lladav_eval.adapters.endpoint import EndpointAnswerer
from lladav_eval.adapters.models import resolve_model
from lladav_eval.errors import EnvironmentError_, Interrupted
from lladav_eval.records import RunSpec
from lladav_eval.runs.execute import RunResult, execute
from lladav_eval.runs.store import RunDirectory

TASK = "lladav_pocket_yesno"
ROWS = 6
QUICK = Patience(attempts=2, first_wait=0.01, longest_wait=0.1, timeout=5)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The rows of each batch that lmms-eval's own dummy model is given."""
    batches: list[list[int]] = []
    real = Dummy.generate_until

    def watched(self: Any, requests: list[Any]) -> Any:
        batches.append([len(request.args[0]) for request in requests])
        return real(self, requests)

    monkeypatch.setattr(Dummy, "generate_until", watched)
    return batches


def go(out: Path, model: str | EndpointAnswerer, batch_size: int = 2) -> RunResult:
    name = model if isinstance(model, str) else model.name
    spec = RunSpec(tasks=(TASK,), model=name, limit=ROWS, batch_size=batch_size, max_failures="2")
    load = (lambda: resolve_model(name, batch_size=batch_size)) if isinstance(model, str) else (lambda: model)
    return execute(spec, load, RunDirectory(out))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_registered_model_resumes_after_the_last_whole_batch(
    tmp_path: Path, asked: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Dummy.generate_until

    def interrupted(self: Any, requests: list[Any]) -> Any:
        if len(asked) == 2:
            raise KeyboardInterrupt
        return watched(self, requests)

    monkeypatch.setattr(Dummy, "generate_until", interrupted)
    with pytest.raises(Interrupted, match=f"after 4 of {ROWS}"):
        go(tmp_path / "run", "lmms:dummy,response=Yes")
    assert [record["record"]["doc_id"] for record in lines(tmp_path / "run" / "journal.jsonl")] == [0, 1, 2, 3]
    monkeypatch.setattr(Dummy, "generate_until", watched)
    result = go(tmp_path / "run", "lmms:dummy,response=Yes")
    assert [len(batch) for batch in asked] == [2, 2, 2]  # the rest only
    task = result.results["tasks"][TASK]
    assert (task["n"], task["failed"], task["cost"]["answered"]) == (ROWS, 0, ROWS)
    assert task["seconds_per_sample"] > 0
    assert task["cost"]["media_seconds"]["known"] == ROWS
    assert task["forward_passes_per_sample"] is None  # lmms-eval's models don't tell
    samples = lines(tmp_path / "run" / "samples.jsonl")
    assert {row["text"] for row in samples} == {"Yes"}
    assert {row["status"] for row in samples} == {"scored"}


def test_a_registered_models_failure_is_one_failed_sample(
    tmp_path: Path, asked: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Dummy.generate_until
    calls: list[int] = []

    def breaks(self: Any, requests: list[Any]) -> Any:
        calls.append(len(requests))
        if len(calls) in (1, 2):  # the first batch, then its first row alone
            raise ZeroDivisionError("a bug of the model")
        return real(self, requests)

    monkeypatch.setattr(Dummy, "generate_until", breaks)
    result = go(tmp_path / "run", "lmms:dummy,response=Yes")
    assert (result.failed, calls) == (1, [2, 1, 1, 2, 2])
    first, *others = lines(tmp_path / "run" / "samples.jsonl")
    assert first["status"] == "failed"
    assert "ZeroDivisionError: a bug of the model" in first["error"]
    assert {row["status"] for row in others} == {"scored"}
    assert result.results["tasks"][TASK]["cost"]["answered"] == ROWS - 1


def test_an_endpoint_that_goes_away_stops_the_run_which_then_resumes(tmp_path: Path) -> None:
    count = 0

    def respond(body: dict[str, Any]) -> str:
        nonlocal count
        count += 1
        return "Yes."

    with serve(*["good"] * 4, *[(503, {}, "")] * 4, respond=respond) as server:
        endpoint = Endpoint("toy", server.url)
        first = go(tmp_path / "run", EndpointAnswerer(endpoint, 2, QUICK))
        assert (first.failed, count) == (2, 4)  # a server that stays busy fails those samples
    with pytest.raises(EnvironmentError_, match="resume with"):
        execute(
            RunSpec(tasks=(TASK,), model="openai:toy@x", limit=ROWS, batch_size=2),
            lambda: EndpointAnswerer(endpoint, 2, QUICK),
            RunDirectory(tmp_path / "run"),
            retry_failed=True,
        )
    with serve(respond=respond) as server:
        again = EndpointAnswerer(endpoint, 2, QUICK)
        again.client.endpoint = Endpoint("toy", server.url)  # the same server, come back on another port
        result = execute(
            RunSpec(tasks=(TASK,), model=again.name, limit=ROWS, batch_size=2),
            lambda: again,
            RunDirectory(tmp_path / "run"),
            retry_failed=True,
        )
    assert (result.failed, count) == (0, ROWS)
    cost = result.results["tasks"][TASK]["cost"]
    assert cost["prompt_tokens"] == {"known": ROWS, "total": 11 * ROWS, "mean": 11}
    assert cost["output_tokens"]["total"] == 3 * ROWS
    assert cost["seconds"]["known"] == ROWS
    assert (cost["forward_passes"], cost["flops"], cost["peak_memory"]) == (None, None, None)
