"""``openai:MODEL@URL``: any OpenAI-compatible chat endpoint (vLLM, SGLang, a hosted model) as the run loop sees it.

Images travel as PNG data URLs, a video as its frames in JPEG. Questions of a batch are in flight together. The endpoint
has its own chat template; think modes aren't sent, as the interface has no such field.
"""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import chain, islice
from typing import Any

from lladav_eval.adapters.chat_client import ChatClient, Endpoint, Patience
from lladav_eval.adapters.chat_reply import ChatReply, PastDeadline, Stopped
from lladav_eval.adapters.parts import content_of, media_of
from lladav_eval.background import Background
from lladav_eval.errors import SampleError, SettingError, past_time
from lladav_eval.records import Generation, Question, Request, SamplingParams, answer_text

MOST_STOPS = 4
"""Stop strings an endpoint takes; all of them are looked for here as well."""
MOST_OF_A_NAME = 200
"""Characters kept of what an endpoint calls its model."""


class EndpointAnswerer:
    """Asks an endpoint.

    Args:
        endpoint: which model, where.
        concurrency: requests in flight at once.
        patience: how long to try.
        time_limit: most seconds for one question, all attempts together.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        concurrency: int = 8,
        patience: Patience | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.concurrency = concurrency
        self.time_limit = time_limit
        self.client = ChatClient(
            endpoint, patience=patience or Patience(timeout=600.0), connections=max(1, concurrency)
        )

    @property
    def name(self) -> str:
        """How the model is called in tables."""
        return f"openai:{self.endpoint.model}@{self.endpoint.url}"

    @property
    def fingerprint(self) -> str:
        """Model and address: all that is known of a model behind an endpoint."""
        return f"openai/{self.endpoint.model}@{self.endpoint.url}"

    def description(self) -> dict[str, Any]:
        """For the run's manifest."""
        return {
            "name": self.name,
            "kind": "endpoint",
            "model": self.endpoint.model,
            "url": self.endpoint.url,
            "concurrency": self.concurrency,
        }

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        """One Generation per question, in order; a question the endpoint refuses, or can't answer, fails alone.

        Raises:
            SettingError: if a setting has no meaning for an endpoint; before any request.
            EnvironmentError_: if the endpoint can't be reached, refuses the key or limits the rate until the end.
            UsageError: if there is no such model.
        """
        for question in questions:
            _check(question.params)
        answers = dict(chain.from_iterable(self.stream(iter(questions))))
        return [answers[index] for index in range(len(questions))]

    def stream(self, questions: Iterator[Question]) -> Iterator[list[tuple[int, Generation]]]:
        """The same as they come: answers, each with its question's position in the order given.

        An error that ends everything comes after all answers that were still under way.
        """
        numbered, stop = enumerate(questions), threading.Event()
        jobs: dict[Future[Generation | None], int] = {}
        with Background(max(1, self.concurrency)) as pool:
            try:
                while True:
                    for index, question in islice(numbered, max(1, self.concurrency) - len(jobs)):
                        _check(question.params)
                        jobs[pool.submit(self._answer, question, stop)] = index
                    if not jobs:
                        return
                    done, _ = wait(jobs, return_when=FIRST_COMPLETED)
                    error = next((job.exception() for job in done if job.exception() is not None), None)
                    if error is not None:  # what waits is dropped, what is in flight may end
                        stop.set()
                        done, _ = wait(jobs)
                    found = [(jobs.pop(job), job.result()) for job in done if job.exception() is None]
                    answers = [(index, answer) for index, answer in found if answer is not None]
                    if answers:
                        yield answers
                    if error is not None:
                        raise error
            finally:  # after Ctrl-C too
                stop.set()

    def _answer(self, question: Question, stop: threading.Event) -> Generation | None:
        """None if another request failed for good, whose error is the one to tell."""
        started = time.perf_counter()
        try:
            if stop.is_set():
                raise Stopped
            content = _content(question.request)
            shown = time.perf_counter() - started
            deadline = None if self.time_limit is None else started + self.time_limit
            reply = self._ask(content, question.params, stop, deadline)
        except PastDeadline as error:
            met = f" (the endpoint so far: {error})" if str(error) else ""
            return Generation.failure(past_time(self.time_limit or 0.0) + met)
        except SampleError as error:
            return Generation.failure(str(error))
        except Stopped:
            return None
        except BaseException:
            stop.set()  # here, so that no other request begins in between
            raise
        return _generation(reply, question.params, shown)

    def _ask(self, content: Any, params: SamplingParams, stop: threading.Event, deadline: float | None) -> ChatReply:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": content}],
            "temperature": params.temperature,
            "max_tokens": params.gen_length,
        }
        if params.temperature:
            body["seed"] = params.seed
        if params.stop:
            body["stop"] = list(params.stop[:MOST_STOPS])
        return self.client.complete(body, stop, deadline=deadline)


def _generation(reply: ChatReply, params: SamplingParams, media_seconds: float) -> Generation:
    if reply.text is None and reply.finish_reason != "length":
        return Generation.failure(f"the endpoint gave no text (finish_reason {reply.finish_reason})")
    text = reply.text or ""
    end = min((text.find(stop) for stop in params.stop if stop in text), default=len(text))
    return Generation(
        text=answer_text(text[:end]),
        stop_reason="length" if reply.finish_reason == "length" and end == len(text) else "stop",
        seconds=reply.seconds,
        prompt_tokens=reply.prompt_tokens,
        output_tokens=reply.output_tokens,
        media_seconds=media_seconds,
        served_model=reply.served_model[:MOST_OF_A_NAME],
    )


def _content(request: Request) -> str | list[dict[str, Any]]:
    """The user's turn: plain text, or typed parts with the media in them."""
    images, _ = media_of(request, video_path=False)
    parts, order = content_of(request, len(images), video=False)
    if not images:
        return request.text
    kind = "JPEG" if request.video is not None else "PNG"
    urls = iter([_data_url(images[index], kind) for index in order])
    return [
        part if part["type"] == "text" else {"type": "image_url", "image_url": {"url": next(urls)}} for part in parts
    ]


def _data_url(image: Any, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _check(params: SamplingParams) -> None:
    if params.approximate:
        raise SettingError("cache, threshold and early_commit need a diffusion model: leave them out for an endpoint")
    if params.cfg_scale or params.suffix:
        raise SettingError("cfg_scale and suffix need a diffusion model: leave them out for an endpoint")
