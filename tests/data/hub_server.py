"""A small real HTTP server that speaks the few endpoints of the hub which fetching a data set needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """One data set on the server; ``commit`` changes whenever its files do."""

    files: dict[str, bytes] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    """Changes the commit without touching a file, as an edited README would."""
    gated: bool = False

    @property
    def commit(self) -> str:
        digest = hashlib.sha1(self.note.encode())
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + hashlib.sha1(content).digest())
        return digest.hexdigest()


@dataclass
class HubState:
    """What the server has, what was asked of it, and how it misbehaves."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    cut_after: int | None = None
    """Bytes after which the next file download is cut, once."""
    garble: bool = False
    """Send wrong bytes of the right length."""
    history: dict[str, tuple[str, dict[str, bytes]]] = field(default_factory=dict)
    """commit -> (repository, files): older commits stay readable."""
    url: str = ""

    def downloads(self) -> list[str]:
        return [line.split(" ")[1].rsplit("/", 1)[-1] for line in self.requests if line.startswith("GET /datasets/")]


def _lfs(content: bytes) -> dict[str, Any] | None:
    if len(content) < 400:  # small files live in git itself
        return None
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}


def _blob(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: HubState

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def _serve(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}")
        if path.startswith("/api/datasets/"):
            self._info(path.removeprefix("/api/datasets/"))
        elif path.startswith("/datasets/") and "/resolve/" in path:
            name, rest = path.removeprefix("/datasets/").split("/resolve/")
            commit, file = rest.split("/", 1)
            self._file(name, commit, file, with_body)
        else:
            self._send(404, b"{}", {})

    def _info(self, name: str) -> None:
        name, _, revision = name.partition("/revision/")
        repository = self.state.repositories.get(name)
        if repository is None:
            return self._send(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        if repository.gated:
            return self._send(403, b'{"error":"gated"}', {"X-Error-Code": "GatedRepo"})
        commit, files = repository.commit, repository.files
        self.state.history[commit] = (name, dict(files))
        if revision in self.state.history:
            commit, files = revision, self.state.history[revision][1]
        elif revision not in ("", "main"):
            return self._send(404, b'{"error":"no revision"}', {"X-Error-Code": "RevisionNotFound"})
        siblings = [
            {"rfilename": path, "size": len(content), "blobId": _blob(content), "lfs": _lfs(content)}
            for path, content in files.items()
        ]
        value = {"id": name, "sha": commit, "siblings": siblings, "cardData": repository.card, "tags": []}
        return self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, commit: str, path: str, with_body: bool) -> None:
        known = self.state.history.get(commit)
        if known is None or known[0] != name or path not in known[1]:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = known[1][path]
        etag = (_lfs(content) or {}).get("sha256") or _blob(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if self.state.garble:
            content = bytes(len(content))
        if not with_body:
            return self._send(200, content, headers, with_body=False)
        status, asked = 200, self.headers.get("Range")
        if asked:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        if self.state.cut_after is not None:
            cut, self.state.cut_after = self.state.cut_after, None
            self._send(status, content, headers, cut=cut)
            self.close_connection = True
            return None
        return self._send(status, content, headers)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], with_body: bool = True, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body and self.command != "HEAD":
            self.wfile.write(body[:cut])


@contextmanager
def running_hub() -> Iterator[HubState]:
    """The server, until the block ends."""
    state = HubState()
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
