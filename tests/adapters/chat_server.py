"""A small OpenAI-compatible server that misbehaves on purpose: each request takes the next behaviour of a list."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = str | tuple[int, dict[str, str], str] | Callable[[], Any]
"""A name below, (status, headers, body), or a function that gives one of the two, perhaps late."""


class ChatServer(ThreadingHTTPServer):
    """Answers with ``respond``, unless the next behaviour says otherwise."""

    daemon_threads = True

    def __init__(self, behaviours: list[Behaviour], respond: Callable[[dict[str, Any]], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviours = behaviours
        self.respond = respond
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str | None] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append({"path": self.path, **body})
            server.times.append(time.monotonic())
            server.keys.append(self.headers.get("Authorization"))
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            behaviour = server.behaviours.pop(0) if server.behaviours else "good"
        self._behave(behaviour, body)

    def _leave(self) -> None:
        """No longer in flight: said before the reply goes out, since the client may send its next request at once."""
        with self.server.lock:
            self.server.in_flight -= 1

    def _behave(self, behaviour: Behaviour, body: dict[str, Any]) -> None:
        if callable(behaviour):
            self._behave(behaviour(), body)
        elif isinstance(behaviour, tuple):
            self._send(*behaviour)
        elif behaviour == "slow":
            time.sleep(1.5)
            self._send(200, {}, completion("too late"))
        elif behaviour == "cut":
            self._leave()
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif behaviour == "invalid":
            self._send(200, {}, '{"choices": [')
        elif behaviour == "unlike":
            self._send(200, {}, '{"error": null}')
        else:
            self._send(200, {}, completion(self.server.respond(body)))

    def _send(self, status: int, headers: dict[str, str], body: str) -> None:
        content = body.encode()
        self._leave()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


def completion(text: str | None, reason: str = "stop") -> str:
    """The body of a chat completion."""
    return json.dumps(
        {
            "model": "served-2026",
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 3},
        }
    )


@contextlib.contextmanager
def serve(
    *behaviours: Behaviour, respond: Callable[[dict[str, Any]], str] = lambda body: "Yes."
) -> Iterator[ChatServer]:
    """Run a server for the length of a with block."""
    server = ChatServer(list(behaviours), respond)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
