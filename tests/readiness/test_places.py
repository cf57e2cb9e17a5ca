"""Whether things are here: paths, the hub's cache as it lies on disk, and what the hub itself says when it is asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from huggingface_hub import constants

from prefbench.data.web_files import WebFile
from prefbench.readiness.places import model_here, presence

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
    assert model_here(MODEL) is None
    folder = keep(cache, "models--someone--tiny", config__json="{}")
    assert "its weights are not in the cache" in presence("model", MODEL).finding
    assert model_here(MODEL) == folder
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
    """Tells the commit of one data set, has the configuration of one model, and gives another on request only."""

    replies: ClassVar[dict[str, tuple[int, dict[str, object], str]]] = {
        "/api/datasets/someone/pairs": (200, {"id": "someone/pairs", "sha": COMMIT}, ""),
        f"/api/models/someone/open/revision/{COMMIT}": (200, {"id": "someone/open", "sha": COMMIT}, ""),
        f"/someone/open/resolve/{COMMIT}/config.json": (200, {"model_type": "llama"}, ""),
        f"/api/models/someone/tiny/revision/{COMMIT}": (403, {}, "GatedRepo"),
    }

    def do_GET(self) -> None:
        self.wfile.write(self._head())

    def do_HEAD(self) -> None:
        self._head()

    def _head(self) -> bytes:
        status, body, code = self.replies.get(self.path.partition("?")[0], (404, {}, "RepoNotFound"))
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(text).hexdigest()}"')
        self.end_headers()
        return text

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("hub")
def test_the_hub_tells_the_commit_that_is_to_be_written(cache: Path) -> None:
    found = presence("pairs_file", "hf://datasets/someone/pairs@COMMIT/train.jsonl", ask_hub=True)
    assert found.finding.endswith(f'with the hub\'s present commit: pairs_file = "hf://datasets/someone/pairs@{COMMIT}/train.jsonl"')
    unknown = presence("pairs_file", "hf://datasets/someone/else@COMMIT", ask_hub=True)
    assert "did not tell its commit" in unknown.finding


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_given_on_request_is_told(cache: Path) -> None:
    assert "access is granted on request" in presence("model", MODEL, ask_hub=True).finding


@pytest.mark.usefixtures("hub")
def test_of_a_model_that_is_not_here_the_configuration_alone_is_fetched_where_told_to(cache: Path) -> None:
    model = f"hf://someone/open@{COMMIT}"
    assert model_here(model) is None
    folder = model_here(model, ask_hub=True)
    assert folder is not None
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert model_here(model) == folder
    assert "its weights are not in the cache" in presence("model", model).finding
    assert model_here(MODEL, ask_hub=True) is None  # given on request only


def test_a_file_of_the_web_is_in_the_cache_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path))
    location = f"https://example.org/q.jsonl#sha256={hashlib.sha256(b'{}').hexdigest()}"
    found = presence("mt_bench_questions", location)
    assert found.state == "missing"
    kept = WebFile.parse(location).kept
    assert str(kept) in found.finding
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    assert presence("mt_bench_questions", location).state == "ok"
    kept.write_text("another")
    assert presence("mt_bench_questions", location).state == "wrong"
    assert presence("mt_bench_questions", "https://example.org/q.jsonl", ask_hub=True).state == "wrong"
