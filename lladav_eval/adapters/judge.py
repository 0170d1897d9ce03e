"""A language model as judge, over an OpenAI-compatible endpoint that the user names.

Every reply is stored before it is used, so scoring again never asks again. The key comes from the environment alone
and is never written, logged or shown.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lladav_eval.adapters.chat_client import ChatClient, Endpoint, Patience
from lladav_eval.adapters.chat_reply import NoUsableReply, RequestRejected, Stopped
from lladav_eval.background import Background
from lladav_eval.errors import EnvironmentError_, UsageError

__all__ = ["KEY_VARIABLES", "Endpoint", "Judge", "Patience", "Reply"]

KEY_VARIABLES = ("LLADAV_EVAL_JUDGE_KEY", "OPENAI_API_KEY")


@dataclass(frozen=True)
class Reply:
    """What a judge said."""

    key: str
    """Hash of endpoint, model, prompt, settings and attempt."""
    model: str
    """The judge as asked for."""
    served_model: str
    """The judge as the endpoint calls it, often with a date."""
    prompt: str
    system: str
    text: str


class Judge:
    """Asks a judge, several prompts at once, and remembers all replies.

    Args:
        endpoint: which model, where.
        store: JSON-lines file of replies; made if missing, only ever appended to.
        concurrency: requests in flight at once.

    Raises:
        UsageError: the store can't be read.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: Path,
        *,
        concurrency: int = 8,
        max_tokens: int = 512,
        patience: Patience | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.store = store
        self.concurrency = concurrency
        self.max_tokens = max_tokens
        self._client = ChatClient(
            endpoint, who="the judge", key_variables=KEY_VARIABLES, patience=patience, connections=concurrency
        )
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}
        self._replies = _load(store)

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._client.calls

    def ask(self, prompt: str, system: str = "", *, attempt: int = 0) -> Reply:
        """The reply to one prompt; see ``ask_all``."""
        return self.ask_all([prompt], system, attempt=attempt)[0]

    def ask_all(self, prompts: Sequence[str], system: str = "", *, attempt: int = 0) -> list[Reply]:
        """One reply per prompt, in order; equal prompts are asked once, stored ones not at all.

        ``attempt`` numbers the times that one and the same answer is wanted anew, because the last one said nothing.

        Raises:
            EnvironmentError_: the endpoint can't be reached, refuses the key, or keeps failing. Replies that came
                before are stored, so the next call goes on from there.
            UsageError: the endpoint rejects the first request of all.
            RequestRejected: it rejects this one, having answered others.
        """
        keys = [self._key(prompt, system, attempt) for prompt in prompts]
        todo = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._replies}
        if todo:
            self._fetch(todo, system)
        return [self._replies[key] for key in keys]

    def is_stored(self, prompt: str, system: str = "", *, attempt: int = 0) -> bool:
        """Whether the reply is there without asking."""
        return self._key(prompt, system, attempt) in self._replies

    def _key(self, prompt: str, system: str, attempt: int) -> str:
        facts = [self.endpoint.url, self.endpoint.model, system, prompt, self.max_tokens, attempt]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _fetch(self, todo: dict[str, str], system: str) -> None:
        stop = threading.Event()
        with Background(self.concurrency) as pool:
            jobs = [pool.submit(self._one, key, prompt, system, stop) for key, prompt in todo.items()]
            try:
                for job in as_completed(jobs):
                    job.result()
            finally:
                stop.set()

    def _one(self, key: str, prompt: str, system: str, stop: threading.Event) -> None:
        try:
            with self._lock:
                asking = self._asking.setdefault(key, threading.Lock())
            with asking:  # whoever asks the same at the same time waits for this reply
                if stop.is_set() or key in self._replies:
                    return
                served, text = self._request(prompt, system, stop)
                reply = Reply(key, self.endpoint.model, served, prompt, system, text)
                with self._lock:
                    _append(self.store, reply)
                    self._replies[key] = reply
        except Stopped:
            return  # another request failed, and its error is the one to tell
        except BaseException:
            stop.set()  # here, so that no other request begins in between
            raise

    def _request(self, prompt: str, system: str, stop: threading.Event) -> tuple[str, str]:
        """(model as served, text)."""
        body = {
            "messages": [
                *([{"role": "system", "content": system}] if system else []),
                {"role": "user", "content": prompt},
            ],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        try:
            reply = self._client.complete(body, stop, needs_text=True)
        except RequestRejected as error:
            if self._replies:  # it can be asked, only not this
                raise
            raise UsageError(str(error)) from None
        except (NoUsableReply, EnvironmentError_) as error:
            raise EnvironmentError_(
                f"{error}; the replies so far are in {self.store}: run the command again to go on"
            ) from None
        return reply.served_model, reply.text or ""


def _append(path: Path, reply: Reply) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(json.dumps(asdict(reply), sort_keys=True).encode() + b"\n")
    except OSError as error:
        raise EnvironmentError_(
            f"the judge's replies can't be stored in {path} ({error.strerror}): allow it"
        ) from error


def _load(path: Path) -> dict[str, Reply]:
    """Stored replies by key. A last line that was cut off (the process was killed) is removed from the file."""
    if not path.exists():
        return {}
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        found: dict[str, Reply] = {}
        for reply in _replies(path, whole):
            found.setdefault(reply.key, reply)
        return found
    except OSError as error:
        raise UsageError(f"the judge's replies {path} can't be read ({error.strerror})") from error


def _replies(path: Path, content: bytes) -> Iterator[Reply]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            value: dict[str, Any] = json.loads(line)
            yield Reply(**{name: str(value[name]) for name in Reply.__dataclass_fields__})
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UsageError(
                f"{path}, line {number} is not a judge's reply: restore the file, or move it away"
            ) from None
