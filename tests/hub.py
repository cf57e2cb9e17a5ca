"""A model hub on the loopback, which has what a test gives it, and nothing else."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub import constants

FIRST, SECOND = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
"""Two commits."""


@dataclass
class LoopbackHub:
    """What it answers by path: status, body and error code; and the paths that it was asked for."""

    replies: dict[str, tuple[int, bytes, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def tells(self, path: str, value: object) -> None:
        """Answer a path with JSON."""
        self.replies[path] = (200, json.dumps(value).encode(), "")

    def has(self, repository: str, revision: str, commit: str) -> None:
        """Have a repository, such as ``models/someone/tiny``, whose branch, tag or commit is at this commit."""
        self.tells(f"/api/{repository}/revision/{revision}", {"id": repository.partition("/")[2], "sha": commit})

    def keeps(self, repository: str, commit: str, name: str, content: bytes) -> None:
        """Have a file of a repository at a commit."""
        self.replies[f"/{repository.removeprefix('models/')}/resolve/{commit}/{name}"] = (200, content, "")

    def refuses(self, path: str) -> None:
        """Give a path on request only."""
        self.replies[path] = (403, b"{}", "GatedRepo")


@contextmanager
def loopback_hub(patch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """The hub that this process and those that it starts take for the real one, until the block ends."""
    hub = LoopbackHub()
    server = HTTPServer(("127.0.0.1", 0), handler(hub))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    patch.setenv("HF_ENDPOINT", address)
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    yield hub
    server.shutdown()
    server.server_close()


def handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    """The handler of this hub's requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(self.head())

        def do_HEAD(self) -> None:
            self.head()

        def head(self) -> bytes:
            path = self.path.partition("?")[0]
            hub.asked.append(path)
            status, body, code = hub.replies.get(path, (404, b"{}", "RepoNotFound"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", path.partition("/resolve/")[2].partition("/")[0] or FIRST)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.end_headers()
            return body

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
