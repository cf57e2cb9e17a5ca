"""Where models and files are: a path of this machine, a repository of the Hugging Face hub, or a file of the web by its sha256."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from prefbench.config import packaged_folder
from prefbench.data.web_files import SCHEMES, WebFile
from prefbench.errors import PrefbenchError, first_line

SCHEME = "hf://"
KINDS = {"datasets/": "dataset", "spaces/": "space"}
MODEL_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model", "*.py"]
"""What is fetched of a model's repository: no pickles. Its code is fetched too, and runs only where the track says so."""

_SHAPE = re.compile(r"(?P<repo>[^/@]+/[^/@]+)@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+)(?:/(?P<path>.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubLocation:
    """``hf://OWNER/NAME@REVISION[/PATH]``, with ``datasets/`` or ``spaces/`` before the owner where it is no model.

    The revision is a commit, or a branch or tag, which a run resolves before anything else (``prefbench.data.revisions``).
    """

    kind: str
    repo: str
    revision: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> HubLocation:
        """Raises PrefbenchError for another shape, and for a location that names no revision."""
        rest = text.removeprefix(SCHEME)
        prefix = next((prefix for prefix in KINDS if rest.startswith(prefix)), "")
        found = _SHAPE.fullmatch(rest.removeprefix(prefix))
        if not found:
            hint = "write hf://OWNER/NAME@REVISION, or hf://datasets/OWNER/NAME@REVISION/FILE: a commit, a tag, or a branch such as main"
            raise PrefbenchError(f"{text}: no location on the hub", hint)
        return cls(KINDS.get(prefix, "model"), found["repo"], found["revision"], found["path"] or "")

    @classmethod
    def at_commit(cls, text: str) -> HubLocation:
        """Raises PrefbenchError also for a branch or a tag: it is something else tomorrow, and nothing is read or identified by it."""
        place = cls.parse(text)
        if not place.is_pinned:
            raise PrefbenchError(f"{text}: names no commit, and nobody resolved it", "write the 40 hexadecimal digits of a commit behind @")
        return place

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def repository(self) -> HubLocation:
        """The same without the path."""
        return replace(self, path="")

    def fetch(self, patterns: list[str] | None = None) -> Path:
        """The file, or the folder of the whole repository (of the files that match ``patterns``), from the hub or from its cache on this machine.

        Raises PrefbenchError that says what to do: log in, correct the name, or fetch it where there is a network.
        """
        try:
            if self.path:
                return Path(hf_hub_download(self.repo, self.path, revision=self.revision, repo_type=self.kind))
            return Path(snapshot_download(self.repo, revision=self.revision, repo_type=self.kind, allow_patterns=patterns))
        except GatedRepoError:
            raise PrefbenchError(
                f"{self}: access is granted on request", "ask for it on the repository's page, then run `hf auth login`"
            ) from None
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            hint = "correct the name or the commit; a private repository needs `hf auth login`"
            raise PrefbenchError(f"{self}: not found on the hub: {first_line(error)}", hint) from None
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            hint = "fetch it where there is a network (`hf download` fills the same cache), or name a folder of this machine"
            raise PrefbenchError(f"{self}: cannot be fetched: {first_line(error)}", hint) from None

    def __str__(self) -> str:
        prefix = next((prefix for prefix, kind in KINDS.items() if kind == self.kind), "")
        return f"{SCHEME}{prefix}{self.repo}@{self.revision}" + (f"/{self.path}" if self.path else "")


def is_on_hub(location: str) -> bool:
    """Whether a location is one of the hub."""
    return location.startswith(SCHEME)


def is_on_web(location: str) -> bool:
    """Whether a location is an address of the web. One that is neither on the web nor on the hub is a path."""
    return location.startswith(SCHEMES)


def is_remote(location: str) -> bool:
    """Whether it may take a network to read a location."""
    return is_on_hub(location) or is_on_web(location)


def located(location: str, folder: Path) -> str:
    """A location as a track file gives it, a relative path resolved against the file's folder; nothing stays nothing."""
    return location if not location or is_remote(location) else str((folder / location).absolute())


def short_name(location: str) -> str:
    """A location for messages: of a path the name, of the web the address without its digest."""
    if is_on_web(location):
        return location.partition("#")[0]
    return location if is_on_hub(location) else Path(location).name


def fetch_file(location: str) -> Path:
    """A file, wherever it is."""
    if is_on_web(location):
        return WebFile.parse(location).fetch()
    return HubLocation.at_commit(location).fetch() if is_on_hub(location) else Path(location)


def fetch_model(location: str) -> Path:
    """A model's folder, wherever it is; safetensors only."""
    return HubLocation.at_commit(location).fetch(MODEL_FILES) if is_on_hub(location) else Path(location)


def refuse_web_model(location: str) -> None:
    """Raise PrefbenchError for a model at an address: a model is several files."""
    if is_on_web(location):
        raise PrefbenchError(f"{location}: a model is a folder, not a file", "name a folder of this machine, or hf://OWNER/NAME@REVISION")


def not_there(path: Path, what: str) -> PrefbenchError:
    """The error for a path of a track that is not there. Beside a packaged track nothing can lie: what it names is the user's to bring."""
    if path.is_relative_to(packaged_folder()):
        hint = "put it beside a copy of the track file, and run the copy: `prefbench show --track NAME > NAME.toml`"
        return PrefbenchError(f"{path.relative_to(packaged_folder())}: this {what} is yours to bring, the track file says how", hint)
    return PrefbenchError(f"{path}: there is no such {what}", "paths of a track are relative to the track file")
