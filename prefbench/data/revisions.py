"""Branches and tags of the hub that a track names, resolved to the commits that they are: once, before anything is planned."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from prefbench.config import Named, Track
from prefbench.data.locations import HubLocation, is_on_hub
from prefbench.errors import PrefbenchError, first_line

SECONDS = 10.0
"""That the hub has to answer."""
Commits = Mapping[str, str]
"""The commit of each repository at a branch or tag: of ``hf://OWNER/NAME@main`` its 40 hexadecimal digits."""


def moving(track: Track) -> dict[str, HubLocation]:
    """The repositories that the track's source and judge name at a branch or a tag, by their text, each once."""
    options = [*track.source.options.values(), *(track.judge.options.values() if track.judge else ())]
    return {str(place.repository): place.repository for value in options if (place := _moving(value))}


def _moving(value: Any) -> HubLocation | None:
    """A location that names no commit; what has no location's shape is refused where it is read, with the option's name."""
    if not isinstance(value, str) or not is_on_hub(value):
        return None
    try:
        place = HubLocation.parse(value)
    except PrefbenchError:
        return None
    return None if place.is_pinned else place


def commits_of(track: Track, known: Commits) -> Commits:
    """The commit of every moving location: the known one, else what the hub says now. Raises PrefbenchError where nobody knows."""
    return {text: known.get(text) or commit_now(place) for text, place in moving(track).items()}


def at_commits(track: Track, commits: Commits) -> Track:
    """The track with commits in the place of the branches and tags that are known."""
    return dataclasses.replace(
        track, source=_at_commits(track.source, commits), judge=_at_commits(track.judge, commits) if track.judge else None
    )


def _at_commits(named: Named, commits: Commits) -> Named:
    return dataclasses.replace(named, options={option: _at_commit(value, commits) for option, value in named.options.items()})


def _at_commit(value: Any, commits: Commits) -> Any:
    place = _moving(value)
    commit = commits.get(str(place.repository)) if place else None
    return str(dataclasses.replace(place, revision=commit)) if place and commit else value


def frozen(text: str, commits: Commits) -> str:
    """A track file's text with commits in the place of branches and tags, so that it says for good which rules a run followed."""
    for location, commit in commits.items():
        head, _, revision = location.rpartition("@")
        text = re.sub(rf"{re.escape(head)}@{re.escape(revision)}(?=[/\"'])", f"{head}@{commit}", text)
    return text


# ---------------------------------------------------------------- one repository


def commit_now(place: HubLocation) -> str:
    """What the hub says, or where it says nothing, what this machine fetched last. Raises PrefbenchError where that is nothing either."""
    try:
        return commit_on_hub(place)
    except PrefbenchError:
        if commit := commit_in_cache(place):
            return commit
        raise


def commit_on_hub(place: HubLocation) -> str:
    """The commit that a branch or tag is at present. Raises PrefbenchError with the hub's reason where it does not say."""
    try:
        hub = HfApi(os.environ.get("HF_ENDPOINT"))
        return str(hub.repo_info(place.repo, repo_type=place.kind, revision=place.revision, timeout=SECONDS).sha)
    except Exception as error:  # whatever keeps the hub from answering
        hint = "correct the name, connect or log in (`hf auth login`); or write the 40 hexadecimal digits of a commit behind @"
        raise PrefbenchError(f"{place}: the hub does not tell its commit: {first_line(error)}", hint) from None


def commit_in_cache(place: HubLocation) -> str | None:
    """The commit that the hub's cache on this machine has under a branch or tag, if any."""
    try:
        folder = snapshot_download(place.repo, revision=place.revision, repo_type=place.kind, local_files_only=True)
    except (LocalEntryNotFoundError, OSError):
        return None
    return Path(folder).name
