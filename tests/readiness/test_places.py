"""Whether things are here: paths, the hub's cache as it lies on disk, and what the hub itself says when it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from huggingface_hub import constants

from prefbench.readiness.places import cached_model, presence

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = f"hf://someone/tiny@{COMMIT}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def keep(cache: Path, repository: str, **files: str) -> Path:
    """Files of a repository in the cache, in its own layout."""
    folder = cache / repository / "snapshots" / COMMIT
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_a_path_is_there_or_missing(tmp_path: Path) -> None:
    assert presence("pairs_file", str(tmp_path)).state == "ok"
    found = presence("pairs_file", str(tmp_path / "pairs.jsonl"))
    assert (found.check, found.state) == ("pairs_file", "missing")


def test_a_model_is_there_with_all_its_weights(cache: Path) -> None:
    found = presence("model", MODEL)
    assert found.state == "missing"
    assert f"hf download someone/tiny --revision {COMMIT}" in found.finding
    assert cached_model(MODEL) is None
    folder = keep(cache, "models--someone--tiny", config__json="{}")
    assert "model.safetensors is not in the cache" in presence("model", MODEL).finding
    assert cached_model(MODEL) == folder
    keep(cache, "models--someone--tiny", model__safetensors="")
    assert presence("model", MODEL).state == "ok"


def test_a_shard_that_is_missing_is_named(cache: Path) -> None:
    folder = keep(cache, "models--someone--tiny", config__json="{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    (folder / "one.safetensors").touch()
    assert "two.safetensors is not in the cache" in presence("model", MODEL).finding


def test_files_and_data_sets_are_looked_for_in_their_own_repositories(cache: Path) -> None:
    file, whole = f"hf://datasets/someone/pairs@{COMMIT}/train.jsonl", f"hf://datasets/someone/pairs@{COMMIT}"
    assert presence("pairs_file", file).state == presence("pairs_file", whole).state == "missing"
    assert "--repo-type dataset" in presence("pairs_file", file).finding
    keep(cache, "datasets--someone--pairs", train__jsonl="")
    assert presence("pairs_file", file).state == presence("pairs_file", whole).state == "ok"


def test_a_file_that_the_repository_is_known_not_to_have_is_wrong(cache: Path) -> None:
    known_absent = cache / "datasets--someone--pairs" / ".no_exist" / COMMIT / "train.jsonl"
    known_absent.parent.mkdir(parents=True)
    known_absent.touch()
    found = presence("pairs_file", f"hf://datasets/someone/pairs@{COMMIT}/train.jsonl")
    assert found.state == "wrong"
    assert "has no train.jsonl at this commit" in found.finding


def test_a_location_without_a_commit_is_wrong(cache: Path) -> None:
    found = presence("pairs_file", "hf://datasets/someone/pairs@COMMIT/train.jsonl")
    assert found.state == "wrong"
    assert "names no commit" in found.finding


class Hub(BaseHTTPRequestHandler):
    """Tells the commit of one data set, and gives a model on request only."""

    replies: ClassVar[dict[str, tuple[int, dict[str, object], str]]] = {
        "/api/datasets/someone/pairs": (200, {"id": "someone/pairs", "sha": COMMIT}, ""),
        f"/api/models/someone/tiny/revision/{COMMIT}": (403, {}, "GatedRepo"),
    }

    def do_GET(self) -> None:
        status, body, code = self.replies.get(self.path.partition("?")[0], (404, {}, "RepoNotFound"))
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("hub")
def test_the_hub_tells_the_commit_that_is_to_be_written(cache: Path) -> None:
    found = presence("pairs_file", "hf://datasets/someone/pairs@COMMIT/train.jsonl", ask_hub=True)
    assert f"hf://datasets/someone/pairs@{COMMIT}/train.jsonl" in found.finding
    unknown = presence("pairs_file", "hf://datasets/someone/else@COMMIT", ask_hub=True)
    assert "did not tell its commit" in unknown.finding


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_given_on_request_is_told(cache: Path) -> None:
    assert "access is granted on request" in presence("model", MODEL, ask_hub=True).finding
