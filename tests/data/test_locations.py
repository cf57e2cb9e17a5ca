"""Locations on the hub: their shape, the commit that they must name, and what is fetched from the cache of a machine without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefbench.config import packaged_folder
from prefbench.data.content import file_identity, model_identity
from prefbench.data.locations import HubLocation, fetch_file, fetch_model, is_on_hub, is_on_web, is_remote, located, not_there
from prefbench.errors import PrefbenchError
from tests.data.conftest import COMMIT, Hub


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"hf://owner/name@{COMMIT}", ("model", "owner/name", COMMIT, "")),
        (f"hf://datasets/owner/name@{COMMIT}/a/b.json", ("dataset", "owner/name", COMMIT, "a/b.json")),
        (f"hf://spaces/owner/name@{COMMIT}/data/q.jsonl", ("space", "owner/name", COMMIT, "data/q.jsonl")),
    ],
)
def test_a_location_is_read_and_written_alike(text: str, parts: tuple[str, str, str, str]) -> None:
    found = HubLocation.parse(text)
    assert (found.kind, found.repo, found.revision, found.path) == parts
    assert str(found) == text


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:7], "COMMIT", "refs/convert/parquet"])
def test_a_branch_or_a_tag_is_a_location_and_nothing_is_read_by_it(revision: str) -> None:
    text = f"hf://datasets/owner/name@{revision}/a.jsonl"
    place = HubLocation.parse(text)
    assert (str(place), place.revision, place.path, place.is_pinned) == (text, revision, "a.jsonl", False)
    assert str(place.repository) == f"hf://datasets/owner/name@{revision}"
    for read in (HubLocation.at_commit, fetch_file, file_identity):
        with pytest.raises(PrefbenchError, match="names no commit"):
            read(text)
    for model in (fetch_model, model_identity):
        with pytest.raises(PrefbenchError, match="names no commit"):
            model(f"hf://owner/name@{revision}")


@pytest.mark.parametrize(
    "text", ["hf://name", "hf://", "hf://owner/name", f"hf://datasets/name@{COMMIT}", "hf://datasets/owner/name/file.json"]
)
def test_another_shape_is_no_location(text: str) -> None:
    with pytest.raises(PrefbenchError, match="no location on the hub"):
        HubLocation.parse(text)


def test_a_relative_path_is_resolved_and_what_is_remote_stays_as_it_is(tmp_path: Path) -> None:
    texts = ("a/b", f"hf://owner/name@{COMMIT}", "https://example.org/b")
    assert [located(text, tmp_path) for text in texts] == [str(tmp_path / "a" / "b"), *texts[1:]]
    assert located("", tmp_path) == ""
    assert [is_on_hub(text) for text in texts] == [False, True, False]
    assert [is_on_web(text) for text in texts] == [False, False, True]
    assert [is_remote(text) for text in texts] == [False, True, True]


def test_what_a_packaged_track_leaves_to_the_user_is_told_without_the_packages_path(tmp_path: Path) -> None:
    shipped = not_there(Path(located("imdb/low.jsonl", packaged_folder())), "file")
    assert str(shipped).startswith("imdb/low.jsonl: this file is yours to bring")
    assert "prefbench show --track" in shipped.hint
    assert str(not_there(tmp_path / "a", "file")) == f"{tmp_path / 'a'}: there is no such file"


def test_a_file_and_a_model_come_from_the_cache(hub: Hub) -> None:
    (hub("dataset", "owner/questions") / "q.jsonl").write_text("{}")
    model = hub("model", "owner/tiny")
    (model / "config.json").write_text("{}")
    assert fetch_file(f"hf://datasets/owner/questions@{COMMIT}/q.jsonl").read_text() == "{}"
    assert (fetch_model(f"hf://owner/tiny@{COMMIT}") / "config.json").samefile(model / "config.json")


def test_what_is_not_in_the_cache_is_named_with_what_to_do(hub: Hub) -> None:
    hub("dataset", "owner/questions")
    for location in (f"hf://datasets/owner/questions@{COMMIT}/q.jsonl", f"hf://datasets/owner/other@{COMMIT}/q.jsonl"):
        with pytest.raises(PrefbenchError, match="cannot be fetched") as caught:
            fetch_file(location)
        assert location in str(caught.value)
        assert "hf download" in caught.value.hint
    with pytest.raises(PrefbenchError, match="cannot be fetched"):
        fetch_model(f"hf://owner/absent@{COMMIT}")
