"""Whether a file, a folder or a repository of the hub is on this machine; where told to, what the hub says of one that is not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

from prefbench.config import Track
from prefbench.data.locations import HubLocation, is_on_hub, is_on_web, not_there
from prefbench.data.revisions import commit_in_cache, commit_on_hub, commits_kept, moving, told_by_hub
from prefbench.data.web_files import WebFile
from prefbench.errors import PrefbenchError, first_line
from prefbench.readiness.findings import Finding, in_words
from prefbench.store.folder import Folder

SHARDS = "model.safetensors.index.json"


def presence(check: str, location: str, ask_hub: bool = False) -> Finding:
    """Whether a location of a track can be read as it is; a remote one means its files in a cache of this machine."""
    try:
        if is_on_web(location):
            return _of_the_web(check, WebFile.parse(location))
        if not is_on_hub(location):
            return _on_disk(check, Path(location))
        place = HubLocation.parse(location)
        if not place.is_pinned:
            return Finding(check, "missing", _unresolved(place, ask_hub))
        lacking = next(_lacking(place), "")
    except PrefbenchError as error:
        return Finding(check, "wrong", in_words(error))
    if not lacking:
        return Finding(check, "ok", f"{place}: in the cache")
    return Finding(check, "missing", f"{place}: {lacking} ({_access(place) if ask_hub else _command(place)})")


def _on_disk(check: str, path: Path) -> Finding:
    return Finding(check, "ok", str(path)) if path.exists() else Finding(check, "missing", in_words(not_there(path, "file or folder")))


def _of_the_web(check: str, file: WebFile) -> Finding:
    if file.here():
        return Finding(check, "ok", f"{file.url}: in the cache")
    return Finding(
        check, "missing", f"{file.url}: not in the cache (a run fetches it where there is a network; else put it at {file.kept})"
    )


def model_here(location: str, ask_hub: bool = False) -> Path | None:
    """The folder of a model that is on this machine, whole or in part; None where there is none.

    Where told to, config.json is fetched of one that is not: all that memory, disk and time depend on.
    """
    if not is_on_hub(location):
        return Path(location) if Path(location, "config.json").is_file() else None
    try:
        place = HubLocation.parse(location)
        found = _cached(place, "config.json")
        if found is None and ask_hub:
            told_by_hub(place)  # a hub that does not answer says so at once, where a download tries again and again
            found = dataclasses.replace(place, path="config.json").fetch()
    except Exception:  # whatever keeps the hub from answering: the model's own line tells it
        return None
    return found.parent if found else None


# ---------------------------------------------------------------- the cache


def _lacking(place: HubLocation) -> Iterator[str]:
    """What the cache does not have of a location, in words."""
    if place.path:
        if _cached(place, place.path) is None:
            yield "not in the cache"
    elif place.kind == "model":
        if _cached(place, "config.json") is None:
            yield "not in the cache"
        else:
            yield from _lacking_weights(place)
    else:
        try:
            snapshot_download(place.repo, revision=place.revision, repo_type=place.kind, local_files_only=True)
        except (LocalEntryNotFoundError, OSError):
            yield "not in the cache"


def _lacking_weights(place: HubLocation) -> Iterator[str]:
    index = _cached(place, SHARDS)
    if index is None:
        if _cached(place, "model.safetensors") is None:
            yield "its weights are not in the cache"
        return
    shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    yield from (f"{name} is not in the cache" for name in shards if _cached(place, name) is None)


def _cached(place: HubLocation, name: str) -> Path | None:
    """A file of a repository in the cache. Raises PrefbenchError where the repository is known to have none of that name."""
    found = try_to_load_from_cache(place.repo, name, revision=place.revision, repo_type=place.kind)
    if found is not None and not isinstance(found, str):
        raise PrefbenchError(f"{place}: the repository has no {name} at this commit", "correct the path or the commit")
    return None if found is None else Path(found)


def _command(place: HubLocation) -> str:
    kind = "" if place.kind == "model" else f" --repo-type {place.kind}"
    path = f" {place.path}" if place.path else ""
    command = f"hf download {place.repo}{path}{kind} --revision {place.revision}"
    if place.kind == "dataset" and not place.path:  # which ``datasets`` reads: without a network it looks into a cache of its own only
        return f"a run fetches it where there is a network; for a machine without one: `{command} --local-dir FOLDER`, and name the folder"
    return f"`{command}`; a run fetches it too where there is a network"


# ---------------------------------------------------------------- the hub


def known_commits(track: Track, folder: Folder, ask_hub: bool = False) -> dict[str, tuple[str, str]]:
    """The commits of the track's branches and tags as far as they are known, each with who says so.

    What the run folder keeps goes before all else, then, where it is told to be asked, the hub.
    """
    places = moving(track)
    kept = commits_kept(folder, places) if places else {}
    found = {
        text: (kept[text], "which the run folder keeps") if text in kept else _commit(place, ask_hub) for text, place in places.items()
    }
    return {text: commit for text, commit in found.items() if commit}


def _commit(place: HubLocation, ask_hub: bool) -> tuple[str, str] | None:
    if ask_hub:
        with suppress(PrefbenchError):  # which the location's own line tells, where the cache does not know it either
            return commit_on_hub(place), "as the hub says"
    commit = commit_in_cache(place)
    return (commit, "as last downloaded here under this name") if commit else None


def _unresolved(place: HubLocation, ask_hub: bool) -> str:
    """Why it is not known which commit a branch or tag is."""
    if ask_hub:
        try:
            commit_on_hub(place.repository)
        except PrefbenchError as error:
            return in_words(error)
    return f"{place}: not in the cache; a run asks the hub which commit it is, and keeps to that one (--ask-hub asks now)"


def _access(place: HubLocation) -> str:
    """Whether the hub would give a repository to this machine."""
    refused, condition = _hub_says(place.repository)
    return refused or f"the hub has it{condition}; {_command(place)}"


@cache
def _hub_says(repository: HubLocation) -> tuple[str, str]:
    """Why the hub does not give a repository, or on what condition it does; asked once, however many files of it a track names."""
    try:
        found = told_by_hub(repository)
    except GatedRepoError:
        return "access is granted on request: ask for it on the repository's page, then run `hf auth login`", ""
    except Exception as error:  # whatever keeps the hub from answering
        return f"the hub says: {first_line(error)}", ""
    return "", "; it is given on request only: run `hf auth login` first" if getattr(found, "gated", False) else ""
