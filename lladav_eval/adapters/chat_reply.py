"""What comes back from an OpenAI-compatible chat endpoint: a reply, or one of the ways in which there is none."""

from __future__ import annotations

import contextlib
import email.utils
import time
from dataclasses import dataclass
from typing import Any

import httpx

from lladav_eval.errors import SampleError


@dataclass(frozen=True)
class ChatReply:
    """What came back."""

    text: str | None
    """None where the endpoint filtered the answer, or a reasoning model spent its tokens before answering."""
    served_model: str
    """The model as the endpoint calls it, often with a date."""
    finish_reason: str | None
    prompt_tokens: int | None
    output_tokens: int | None
    seconds: float
    """From sending the request that succeeded to the end of its reply."""
    attempts: int


class RequestRejected(SampleError):
    """The endpoint understands the request and refuses it: asking again won't help, another question may work."""

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words
        """All that the endpoint said."""


class NoUsableReply(SampleError):
    """Every attempt ended in a server error, a timeout or something that is no chat completion."""


class PastDeadline(SampleError):
    """No reply came before the caller's deadline; the message is what the last attempt met, if anything."""


class Stopped(Exception):
    """Waiting was broken off by the caller's ``stop``."""


class Passing(Exception):
    """A failure that may pass: the request is worth another attempt."""

    def __init__(self, reason: str, pause: float | None = None, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.unreachable = unreachable


def read_reply(response: httpx.Response, asked: str, seconds: float, attempt: int) -> ChatReply | None:
    """What a chat completion says, None if it is none; ``asked`` is the model's name where it gives none."""
    try:
        value = response.json()
        choice = value["choices"][0]
        text = _text(choice["message"])
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    usage = value.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    served, reason = value.get("model"), choice.get("finish_reason")
    return ChatReply(
        text=text,
        served_model=served if isinstance(served, str) else asked,
        finish_reason=reason if isinstance(reason, str) else None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        seconds=seconds,
        attempts=attempt,
    )


def _text(message: dict[str, Any]) -> str | None:
    """The words of a message: a text, or the text among typed parts, or else a refusal."""
    content = message["content"]
    if content is None:
        content = message.get("refusal")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError("the content is no text")
    return content


def _count(value: Any) -> int | None:
    """A number of tokens; None for what can't be one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else None


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait, from a number or a date."""
    value = response.headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(value)) if float(value) < float("inf") else None
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def left_until(deadline: float | None) -> float:
    """Seconds until the deadline, endless without one, none behind it."""
    return float("inf") if deadline is None else max(0.0, deadline - time.perf_counter())


def in_time(deadline: float | None) -> float:
    """The same. Raises PastDeadline if there are none."""
    left = left_until(deadline)
    if not left:
        raise PastDeadline
    return left
