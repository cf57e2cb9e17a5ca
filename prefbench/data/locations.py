"""Where models and files are: a path of this machine, or a repository of the Hugging Face hub at a commit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from prefbench.errors import PrefbenchError, first_line

SCHEME = "hf://"
KINDS = {"datasets/": "dataset", "spaces/": "space"}
MODEL_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model", "*.py"]
"""What is fetched of a model's repository: no pickles. Its code is fetched too, and runs only where the track says so."""

_SHAPE = re.compile(r"(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubLocation:
    """``hf://OWNER/NAME@COMMIT[/PATH]``, with ``datasets/`` or ``spaces/`` before the owner where it is no model."""

    kind: str
    repo: str
    revision: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> HubLocation:
        """Raises PrefbenchError for another shape, and for a location that names no commit: a branch is something else tomorrow."""
        rest = text.removeprefix(SCHEME)
        prefix = next((prefix for prefix in KINDS if rest.startswith(prefix)), "")
        found = _SHAPE.fullmatch(rest.removeprefix(prefix))
        if not found:
            raise PrefbenchError(f"{text}: no location on the hub", "write hf://OWNER/NAME@COMMIT, or hf://datasets/OWNER/NAME@COMMIT/FILE")
        if not _COMMIT.fullmatch(found["revision"] or ""):
            hint = "write the 40 hexadecimal digits behind @; the repository's page shows them under Files, History"
            raise PrefbenchError(f"{text}: names no commit, and a branch is something else tomorrow", hint)
        return cls(KINDS.get(prefix, "model"), found["repo"], found["revision"], found["path"] or "")

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
    """Whether a location is one of the hub; any other is a path."""
    return location.startswith(SCHEME)


def located(location: str, folder: Path) -> str:
    """A location as a track file gives it, a relative path resolved against the file's folder; nothing stays nothing."""
    return location if not location or is_on_hub(location) else str((folder / location).absolute())


def fetch_file(location: str) -> Path:
    """A file, wherever it is."""
    return HubLocation.parse(location).fetch() if is_on_hub(location) else Path(location)


def fetch_model(location: str) -> Path:
    """A model's folder, wherever it is; safetensors only."""
    return HubLocation.parse(location).fetch(MODEL_FILES) if is_on_hub(location) else Path(location)
