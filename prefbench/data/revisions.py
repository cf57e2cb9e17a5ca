"""Branches and tags of the hub that a track names, resolved to the commits that they are: once, before anything is planned."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from prefbench.config import Named, Track
from prefbench.data.locations import HubLocation, is_on_hub
from prefbench.errors import DamagedError, PrefbenchError, first_line
from prefbench.store.folder import Folder
from prefbench.store.sealed import read_sealed, write_sealed

SECONDS = 10.0
"""That the hub has to answer."""
Commits = Mapping[str, str]
"""The commit of each repository at a branch or tag: of ``hf://OWNER/NAME@main`` its 40 hexadecimal digits."""

logger = logging.getLogger("prefbench")


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


def commits_of(track: Track, folder: Folder) -> Commits:
    """The commit of every moving location: the one that the run folder keeps, else what the hub says now.

    Raises PrefbenchError where nobody knows.
    """
    places = moving(track)
    known = commits_kept(folder, places) if places else {}
    return {text: known.get(text) or commit_now(place) for text, place in places.items()}


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


def frozen(path: Path, commits: Commits) -> str:
    """A track file's text with commits in the place of branches and tags, so that it says for good which rules a run followed.

    Raises PrefbenchError for a location that is written in a way that no text search finds, such as over two lines.
    """
    text = path.read_text(encoding="utf-8")
    for location, commit in commits.items():
        head, _, revision = location.partition("@")  # the first one: a tag may hold another
        text = re.sub(rf"{re.escape(head)}@{re.escape(revision)}(?=[/\"'\s])", f"{head}@{commit}", text)
    tables = tomllib.loads(text)
    left = [place for table in ("source", "judge") for value in tables.get(table, {}).values() if (place := _moving(value))]
    if left:
        raise PrefbenchError(
            f"{path}: {left[0]} cannot be told from its surroundings", 'write it on a line of its own: OPTION = "hf://..."'
        )
    return text


# ---------------------------------------------------------------- what a run folder keeps


def commits_kept(folder: Folder, locations: Iterable[str]) -> Commits:
    """What a run in this folder resolved before: it goes on with the same data, whatever the hub has by now.

    Raises PrefbenchError where that is not known any more: asked for again, the commits might be others than those of its results.
    """
    hint = f"give another folder with --out; or write the commit behind @: {folder.track} names it"
    try:
        if folder.commits.is_file():
            return read_sealed(folder.commits)
    except DamagedError as error:
        raise DamagedError(str(error), hint) from None
    ran = folder.track.read_text(encoding="utf-8") if any((folder.root / "records").glob("*.json")) else ""
    for location in locations:
        if f"{location.partition('@')[0]}@" in ran:
            raise PrefbenchError(
                f"{folder.root} holds results, and no {folder.commits.name}: of which commit of {location}, is not known", hint
            )
    return {}


def keep_commits(folder: Folder, commits: Commits) -> None:
    """Note them in the run folder, beside those of locations that the track named before."""
    if commits:
        write_sealed(folder.commits, {**commits_kept(folder, ()), **commits})


# ---------------------------------------------------------------- one repository


def commit_now(place: HubLocation) -> str:
    """What the hub says; where it says nothing, what was last downloaded here under that name, with a warning.

    Raises PrefbenchError where that is nothing either.
    """
    try:
        return commit_on_hub(place)
    except PrefbenchError as error:
        commit = commit_in_cache(place)
        if commit is None:
            raise
        logger.warning("%s; it is %s as last downloaded here", error, commit)
        return commit


def commit_on_hub(place: HubLocation) -> str:
    """The commit that a branch or tag is at present. Raises PrefbenchError with the hub's reason where it does not say."""
    hint = "correct the name, connect or log in (`hf auth login`); or write the 40 hexadecimal digits of a commit behind @"
    try:
        commit: str | None = told_by_hub(place).sha
    except Exception as error:  # whatever keeps the hub from answering
        raise PrefbenchError(f"{place}: the hub does not tell its commit: {first_line(error)}", hint) from None
    if not commit:
        raise PrefbenchError(f"{place}: the hub does not tell its commit: it answers without one", hint)
    return commit


def told_by_hub(place: HubLocation) -> Any:
    """What the hub tells of a repository, without fetching anything. Raises whatever keeps it from answering."""
    return HfApi(os.environ.get("HF_ENDPOINT")).repo_info(place.repo, repo_type=place.kind, revision=place.revision, timeout=SECONDS)


def commit_in_cache(place: HubLocation) -> str | None:
    """The commit that the hub's cache on this machine has under a branch or tag, if any: that of a download by the same name."""
    try:
        folder = snapshot_download(place.repo, revision=place.revision, repo_type=place.kind, local_files_only=True)
    except (LocalEntryNotFoundError, OSError):
        return None
    return Path(folder).name
