"""One request to an OpenAI-compatible chat endpoint, tried again for as long as that can help.

Keys come from the environment alone. They are never written, logged or shown, and an address that holds one is refused.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from lladav_eval.adapters.chat_reply import (
    ChatReply,
    NoUsableReply,
    Passing,
    PastDeadline,
    RequestRejected,
    Stopped,
    in_time,
    left_until,
    read_reply,
    retry_after,
)
from lladav_eval.errors import EnvironmentError_, UsageError, one_line

MOST_BYTES = 64 << 20
"""Longest reply that is read into memory."""

_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_UNWANTED = {"max_tokens": "max_completion_tokens", "temperature": "temperature"}
"""Fields that some models refuse -> what their refusals say then."""


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible address."""

    model: str
    url: str
    """Base address, such as https://host/v1; "/chat/completions" is appended."""

    @classmethod
    def parse(cls, text: str, what: str = "model", key_variable: str = "OPENAI_API_KEY") -> Endpoint:
        """Read ``MODEL@URL``. Raises UsageError, without repeating what might hold a password."""
        model, _, rest = text.partition("@http")
        url = "http" + rest
        try:
            parts = urlsplit(url)
            wrong = not model or parts.scheme not in ("http", "https") or not parts.hostname or (parts.port or 1) < 1
        except ValueError:  # the port, or brackets of an IPv6 address
            raise UsageError(f"the address of the {what} is no web address; give MODEL@URL") from None
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise UsageError(
                f"the address of the {what} may hold no password, query or fragment: put the key into ${key_variable}"
            )
        if wrong:
            shown = text.split("@")[0][:40]
            raise UsageError(
                f"{shown!r} names no {what} with its address: give MODEL@URL, the address with http:// or https://, "
                "for example gpt-4o-mini@https://host/v1"
            )
        return cls(model, url.rstrip("/").removesuffix("/chat/completions"))


@dataclass(frozen=True)
class Patience:
    """How long to try."""

    attempts: int = 6
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled each time, up to ``longest_wait``."""
    longest_wait: float = 60.0
    timeout: float = 120.0
    """Seconds for one reply."""

    def pause(self, attempt: int, asked: float | None, share: float) -> float:
        """Seconds until the attempt after ``attempt`` (0 is the first): what the server asks for, else doubling.

        Up to a quarter more by ``share`` (0 to 1), drawn at random, so that requests that failed together don't come
        back together.
        """
        base = asked if asked is not None else self.first_wait * 2**attempt
        return min(base, self.longest_wait) * (1 + share / 4)


class ChatClient:
    """Asks one endpoint. Safe to use from several threads.

    Args:
        endpoint: which model, where.
        who: how errors call it ("the judge").
        key_variables: environment variables that may hold the key; the first that is set counts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        who: str = "the model",
        key_variables: Sequence[str] = ("OPENAI_API_KEY",),
        patience: Patience | None = None,
        connections: int = 8,
    ) -> None:
        self.endpoint = endpoint
        self.who = f"{who} {endpoint.model} at {endpoint.url}"
        self.key_variables = tuple(key_variables)
        self.patience = patience or Patience()
        self.calls = 0
        """Requests sent so far."""
        self._unwanted: frozenset[str] = frozenset()
        """Fields that the endpoint refused, and answered without."""
        self._lock = threading.Lock()
        self._random = random.Random()  # of its own: scores draw from seeded generators, never from a shared one
        self._connections = connections
        self._http: httpx.Client | None = None

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            if self._http is not None:
                self._http.close()
                self._http = None

    def complete(
        self,
        body: dict[str, Any],
        stop: threading.Event | None = None,
        *,
        needs_text: bool = False,
        deadline: float | None = None,
    ) -> ChatReply:
        """The reply to one request; ``model`` is filled in. Setting ``stop`` ends the waiting between attempts.

        ``needs_text`` asks again where the reply has none. ``deadline``, by ``time.perf_counter``, ends everything.
        Newer hosted models want ``max_completion_tokens`` for ``max_tokens``, and refuse a ``temperature`` of 0: they
        get the request so once they say it, and from then on at once. Any other temperature is never left out.

        Raises:
            RequestRejected: the endpoint refuses this request (400, 413, 422 and the like).
            NoUsableReply: server errors, timeouts, cut connections or malformed replies until the end.
            EnvironmentError_: the endpoint can't be reached at all, refuses the key, or limits the rate until the end.
            UsageError: there is no such address or model, or it has moved.
            PastDeadline: the deadline came first.
            Stopped: ``stop`` was set while waiting.
        """
        stop, unwanted = stop or threading.Event(), self._unwanted
        while True:
            worded = _worded(body, unwanted)
            try:
                reply = self._keep_asking(worded, stop, needs_text, deadline)
            except RequestRejected as error:
                unwanted |= {field for field, sign in _UNWANTED.items() if sign in error.words}
                if _worded(body, unwanted) == worded:
                    raise
                continue
            with self._lock:
                self._unwanted |= unwanted
            return reply

    def _keep_asking(
        self, body: dict[str, Any], stop: threading.Event, needs_text: bool, deadline: float | None
    ) -> ChatReply:
        """Until there is a reply, or patience is over."""
        reason, unreachable, made = "", False, 0
        for attempt in range(self.patience.attempts):
            pause: float | None = None
            made = attempt + 1
            try:
                reply = self._once({"model": self.endpoint.model, **body}, made, deadline)
                if reply.text is None and needs_text:
                    raise Passing("a reply without text")
                return reply
            except Passing as error:
                reason, pause, unreachable = str(error), error.pause, error.unreachable
            except PastDeadline:  # what the attempts before it met says more
                raise PastDeadline(reason) from None
            if made < self.patience.attempts:
                seconds = self.patience.pause(attempt, pause, self._random.random())
                left = left_until(deadline)
                if stop.wait(min(seconds, left)):
                    raise Stopped
                if seconds >= left:
                    raise PastDeadline(reason)
        message = f"{self.who} gave no usable reply in {made} attempts ({reason})"
        raise EnvironmentError_(message) if unreachable else NoUsableReply(message)

    def _client(self) -> httpx.Client:
        """Made at first use, as that takes time. Redirects are not followed: the key goes to the named address only."""
        with self._lock:
            if self._http is None:
                most = self._connections
                limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
                self._http = httpx.Client(timeout=self.patience.timeout, follow_redirects=False, limits=limits)
            return self._http

    def _once(self, body: dict[str, Any], attempt: int, deadline: float | None) -> ChatReply:
        client = self._client()
        with self._lock:
            self.calls += 1
        started = time.perf_counter()
        url = f"{self.endpoint.url}/chat/completions"
        try:
            response = self._post(client, url, body, deadline)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Passing(self._redact(one_line(error)), unreachable=True) from None
        except httpx.HTTPError as error:  # timeouts, cut connections, broken encodings
            raise Passing(f"{type(error).__name__}: {self._redact(one_line(error))}") from None
        status = response.status_code
        if status in _RETRIED:
            raise Passing(f"status {status}{self._said(response)}", retry_after(response), unreachable=status == 429)
        self._refuse(response)
        reply = read_reply(response, self.endpoint.model, time.perf_counter() - started, attempt)
        if reply is None:
            raise Passing(f"a reply that is not a chat completion{self._said(response)}")
        return reply

    def _post(self, client: httpx.Client, url: str, body: dict[str, Any], deadline: float | None) -> httpx.Response:
        """The whole response, read piece by piece: httpx's own timeout begins anew with every piece.

        Patience and deadline are looked at between pieces of the body. A piece under way may take as long again, and
        what comes without a body (headers, lengths of chunks) is bounded by its size alone: httpx shows it when whole.
        """
        timeout = min(self.patience.timeout, in_time(deadline))
        end = time.perf_counter() + self.patience.timeout
        content = json.dumps(body).encode("ascii")  # half of a surrogate pair has no UTF-8, but an escape
        headers = {"Content-Type": "application/json", **self._headers()}
        try:
            with client.stream("POST", url, content=content, headers=headers, timeout=timeout) as response:
                reply = bytearray()
                for piece in response.iter_bytes():
                    reply += piece
                    if len(reply) > MOST_BYTES:
                        raise NoUsableReply(f"{self.who} sent more than {MOST_BYTES:,} bytes")
                    in_time(deadline)
                    if time.perf_counter() > end:
                        raise Passing(f"no whole reply in {self.patience.timeout:g} s")
        except httpx.TimeoutException:
            in_time(deadline)
            raise
        coded = ("content-encoding", "content-length")  # the bytes are decoded by now
        kept = [item for item in response.headers.multi_items() if item[0].lower() not in coded]
        return httpx.Response(response.status_code, headers=kept, content=bytes(reply))

    def _refuse(self, response: httpx.Response) -> None:
        """Raise on a status that trying again won't change."""
        status = response.status_code
        if status in (401, 403):  # the body may repeat the key
            state = "the key is refused" if self._key() else "a key is wanted"
            raise EnvironmentError_(f"{self.who}: {state} (status {status}); set ${self.key_variables[0]}")
        if status == 404:
            raise UsageError(f"{self.who}: no such address or model (status 404); check MODEL@URL")
        if 300 <= status < 400:
            place = self._redact(response.headers.get("location", "").partition("?")[0])
            shown = one_line(Exception(place or "no address"))
            raise UsageError(f"{self.who}: redirects (status {status}, {shown}); give that address")
        if not 200 <= status < 300:
            message = f"{self.who} rejects the request (status {status}){self._said(response)}"
            raise RequestRejected(message, self._redact(response.text))

    def _said(self, response: httpx.Response) -> str:
        """How the body begins, behind a colon; empty where there is none."""
        words = self._redact(response.text).strip()
        return f": {one_line(Exception(words))}" if words else ""

    def _key(self) -> str | None:
        return next((os.environ[name] for name in self.key_variables if os.environ.get(name)), None)

    def _headers(self) -> dict[str, str]:
        key = self._key()
        if key is None:
            return {}
        if not key.isascii() or not key.isprintable() or " " in key:
            raise UsageError(f"the key in ${self.key_variables[0]} has characters that no key has: set it again")
        return {"Authorization": f"Bearer {key}"}

    def _redact(self, text: str) -> str:
        """The text without any key of the environment."""
        for name in self.key_variables:
            if os.environ.get(name):
                text = text.replace(os.environ[name], "***")
        return text


def _worded(body: dict[str, Any], unwanted: frozenset[str]) -> dict[str, Any]:
    """The request as an endpoint wants it that refuses these fields."""
    worded = dict(body)
    if "max_tokens" in unwanted and "max_tokens" in body:
        worded["max_completion_tokens"] = worded.pop("max_tokens")
    if "temperature" in unwanted and not body.get("temperature"):
        worded.pop("temperature", None)
    return worded
