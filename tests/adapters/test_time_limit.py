"""--time-limit: a sample that takes longer is a failed one with its reason, whatever kind of model answers it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from chat_server import serve
from tiny_checkpoint import write_checkpoint
from tiny_hf import write_hf

from lladav_eval.adapters.autoregressive import load_hf
from lladav_eval.adapters.chat_client import Endpoint, Patience
from lladav_eval.adapters.endpoint import EndpointAnswerer
from lladav_eval.adapters.models import LladavAnswerer, resolve_model
from lladav_eval.errors import SettingError
from lladav_eval.records import Generation, Question, Request, SamplingParams

PARAMS = SamplingParams(16, 16, 16)


def questions(*texts: str) -> list[Question]:
    return [Question("t", number, Request(text), PARAMS) for number, text in enumerate(texts)]


def endpoint(url: str, limit: float | None, timeout: float = 30.0) -> EndpointAnswerer:
    return EndpointAnswerer(Endpoint("toy", url), 2, Patience(6, 0.05, 0.3, timeout), limit)


def assert_late(answer: Generation) -> None:
    assert answer.status == "failed"
    assert (answer.error or "").startswith("took longer than the time limit of 0.2 s; raise --time-limit")


def test_an_endpoint_that_takes_long_fails_the_sample_and_not_the_others() -> None:
    with serve("slow") as server:
        slow, quick = endpoint(server.url, 0.2).answer(questions("a", "b"))
        late, fine = sorted((slow, quick), key=lambda answer: answer.status)
    assert_late(late)
    assert fine.text == "Yes"


def test_all_attempts_together_have_one_limit() -> None:
    with serve(*[(503, {}, "")] * 50) as server:
        answer = endpoint(server.url, 0.2).answer(questions("a"))[0]
        assert_late(answer)
        assert (answer.error or "").endswith("(the endpoint so far: status 503)")
        assert len(server.requests) < 6


@pytest.fixture
def drip() -> Iterator[str]:
    """A server whose reply comes byte by byte, each well within any timeout of one read."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(1000):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return
                time.sleep(0.01)

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_reply_that_drips_does_not_evade_the_limit(drip: str) -> None:
    assert_late(endpoint(drip, 0.2).answer(questions("a"))[0])


def test_a_reply_that_drips_does_not_evade_the_patience_either(drip: str) -> None:
    patient = EndpointAnswerer(Endpoint("toy", drip), 1, Patience(2, 0.05, 0.3, timeout=0.3))
    begin = time.perf_counter()
    answer = patient.answer(questions("a"))[0]
    assert "no usable reply in 2 attempts (no whole reply in 0.3 s)" in (answer.error or "")
    assert time.perf_counter() - begin < 9, "one whole reply takes ten seconds"


def test_without_a_limit_or_within_it_answers_are_the_same() -> None:
    for limit in (None, 60.0):
        with serve() as server:
            assert endpoint(server.url, limit).answer(questions("a"))[0].text == "Yes"


def test_a_transformers_model_stops_between_tokens(tmp_path: Path) -> None:
    model = load_hf(str(write_hf("llava_next", tmp_path)), "cpu", None, batch_size=2)
    asked = questions("List each digit", "Is there a digit?", "One more")
    free = model.answer(asked)
    model.time_limit = 60.0
    assert [answer.token_ids for answer in model.answer(asked)] == [answer.token_ids for answer in free]
    model.time_limit = 0.2
    passes = 0

    def wait(*_: object) -> None:
        nonlocal passes
        passes += 1
        time.sleep(0.3)

    hook = model.model.register_forward_pre_hook(wait)
    answers = model.answer(asked)
    hook.remove()
    for answer in answers:
        assert_late(answer)
    assert passes == 2, "one token for each of the two batches"


def test_a_diffusion_model_stops_between_steps(tmp_path: Path) -> None:
    model = resolve_model(str(write_checkpoint(tmp_path)), "cpu", batch_size=2, time_limit=600.0)
    assert isinstance(model, LladavAnswerer)
    answers = model.answer(questions("List each digit", "Is there a digit?"))
    assert {answer.status for answer in answers} == {"ok"}
    model.time_limit = 0.2
    model.model.model.lm_head.register_forward_pre_hook(lambda *_: time.sleep(0.3))
    with torch.inference_mode():
        late = model.answer(questions("List each digit", "Is there a digit?"))
    assert all(answer.status == "failed" and "time limit of 0.2 s" in (answer.error or "") for answer in late)


@pytest.mark.parametrize("name", ["lmms:dummy", "replay:answers.jsonl", "pocket-ar"])
def test_kinds_that_cannot_be_stopped_refuse_the_option(name: str) -> None:
    with pytest.raises(SettingError, match=r"--time-limit: .* can't be stopped in the middle"):
        resolve_model(name, time_limit=1.0)
