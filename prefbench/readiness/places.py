"""Whether a file, a folder or a repository of the hub is on this machine; where asked, what the hub says of one that is not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

from prefbench.data.locations import KINDS, SCHEME, HubLocation, is_on_hub
from prefbench.errors import PrefbenchError, first_line
from prefbench.readiness.findings import Finding, in_words

SECONDS = 10.0
"""That the hub has to answer."""
SHARDS = "model.safetensors.index.json"


def presence(check: str, location: str, ask_hub: bool = False) -> Finding:
    """Whether a location of a track can be read as it is; a location on the hub means its files in this machine's cache."""
    if not is_on_hub(location):
        there = Path(location).exists()
        return Finding(check, "ok", location) if there else Finding(check, "missing", f"{location}: is not there")
    try:
        place = HubLocation.parse(location)
        lacking = next(_lacking(check, place), "")
    except PrefbenchError as error:
        return Finding(check, "wrong", in_words(error) + (_present_commit(location) if ask_hub else ""))
    if not lacking:
        return Finding(check, "ok", f"{place}: in the cache")
    return Finding(check, "missing", f"{place}: {lacking} ({_access(place) if ask_hub else _command(place)})")


def cached_model(location: str) -> Path | None:
    """The folder of a model that is on this machine, whole or in part; None where there is none."""
    if not is_on_hub(location):
        return Path(location) if Path(location, "config.json").is_file() else None
    try:
        found = _cached(HubLocation.parse(location), "config.json")
    except PrefbenchError:
        return None
    return found.parent if found else None


# ---------------------------------------------------------------- the cache


def _lacking(check: str, place: HubLocation) -> Iterator[str]:
    """What the cache does not have of a location, in words."""
    if place.path:
        if _cached(place, place.path) is None:
            yield "not in the cache"
    elif place.kind == "model":
        config = _cached(place, "config.json")
        if config is None:
            yield "not in the cache"
        else:
            yield from (f"{name} is not in the cache" for name in _weights(place) if _cached(place, name) is None)
    else:
        try:
            snapshot_download(place.repo, revision=place.revision, repo_type=place.kind, local_files_only=True)
        except (LocalEntryNotFoundError, OSError):
            yield "not in the cache"


def _weights(place: HubLocation) -> list[str]:
    """The files that hold a model's weights."""
    index = _cached(place, SHARDS)
    return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())) if index else ["model.safetensors"]


def _cached(place: HubLocation, name: str) -> Path | None:
    """A file of a repository in the cache. Raises PrefbenchError where the repository is known to have none of that name."""
    found = try_to_load_from_cache(place.repo, name, revision=place.revision, repo_type=place.kind)
    if found is not None and not isinstance(found, str):
        raise PrefbenchError(f"{place}: the repository has no {name} at this commit", "correct the path or the commit")
    return None if found is None else Path(found)


def _command(place: HubLocation) -> str:
    kind = "" if place.kind == "model" else f" --repo-type {place.kind}"
    path = f" {place.path}" if place.path else ""
    return f"`hf download {place.repo}{path}{kind} --revision {place.revision}`; a run fetches it too where there is a network"


# ---------------------------------------------------------------- the hub


def _present_commit(location: str) -> str:
    """The location with the commit that the hub has now, for one that names none."""
    rest = location.removeprefix(SCHEME)
    prefix = next((prefix for prefix in KINDS if rest.startswith(prefix)), "")
    repo, _, revision = rest.removeprefix(prefix).partition("@")
    path = revision.partition("/")[2]
    try:
        commit = HfApi(os.environ.get("HF_ENDPOINT")).repo_info(repo, repo_type=KINDS.get(prefix, "model"), timeout=SECONDS).sha
    except Exception as error:  # whatever keeps the hub from answering
        return f"; the hub did not tell its commit: {first_line(error)}"
    return f"; the hub's present commit: {SCHEME}{prefix}{repo}@{commit}" + (f"/{path}" if path else "")


def _access(place: HubLocation) -> str:
    """Whether the hub would give a repository to this machine."""
    try:
        found = HfApi(os.environ.get("HF_ENDPOINT")).repo_info(place.repo, repo_type=place.kind, revision=place.revision, timeout=SECONDS)
    except GatedRepoError:
        return "access is granted on request: ask for it on the repository's page, then run `hf auth login`"
    except Exception as error:  # whatever keeps the hub from answering
        return f"the hub says: {first_line(error)}"
    gated = "; it is given on request only: run `hf auth login` first" if getattr(found, "gated", False) else ""
    return f"the hub has it{gated}; {_command(place)}"
