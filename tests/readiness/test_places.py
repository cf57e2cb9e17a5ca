"""Whether things are here: paths, the hub's cache as it lies on disk, and what the hub itself says when it is asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from prefbench.data.web_files import WebFile
from prefbench.readiness.places import model_here, presence
from tests.hub import FIRST as COMMIT
from tests.hub import LoopbackHub, loopback_hub

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


def test_a_location_of_another_shape_is_wrong(cache: Path) -> None:
    found = presence("pairs_file", "hf://datasets/someone/pairs/train.jsonl")
    assert found.state == "wrong"
    assert "no location on the hub" in found.finding


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """One that knows a data set's branch, has the configuration of one model, and gives another on request only."""
    with loopback_hub(monkeypatch) as found:
        found.has("datasets/someone/pairs", "main", COMMIT)
        found.has("models/someone/open", COMMIT, COMMIT)
        found.keeps("models/someone/open", COMMIT, "config.json", b'{"model_type": "llama"}')
        found.refuses(f"/api/models/someone/tiny/revision/{COMMIT}")
        yield found


@pytest.mark.usefixtures("hub")
def test_a_branch_that_the_hub_does_not_know_is_missing_with_its_reason(cache: Path) -> None:
    assert "(--ask-hub asks now)" in presence("pairs_file", "hf://datasets/someone/else@main/train.jsonl").finding
    unknown = presence("pairs_file", "hf://datasets/someone/else@main/train.jsonl", ask_hub=True)
    assert unknown.state == "missing"
    assert "hf://datasets/someone/else@main: the hub does not tell its commit" in unknown.finding


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
