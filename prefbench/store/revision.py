"""A folder as git knows it: its files at a revision, and those that are there now and not ignored."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from prefbench.errors import PrefbenchError


class GitError(PrefbenchError):
    """git is not there, or could not do what it was asked."""


@dataclass(frozen=True)
class Revision:
    """A folder at a commit. The folder need not be there now; ``anchor`` is the nearest one on the way to it that is."""

    ref: str
    commit: str
    anchor: Path
    inside: PurePosixPath

    def names(self) -> list[PurePosixPath]:
        """The folder's files, relative to it, sorted; none where the commit has no such folder."""
        listed = _git(self.anchor, "ls-tree", "-r", "-z", "--name-only", self.commit, "--", f"./{self.inside}/")
        return sorted(PurePosixPath(name).relative_to(self.inside) for name in listed.decode().split("\0") if name)

    def read(self, name: PurePosixPath) -> bytes:
        """A file's content at the commit."""
        return _git(self.anchor, "show", f"{self.commit}:./{self.inside / name}")


def revision(folder: Path, ref: str) -> Revision:
    """A folder at a branch, tag or commit. Raises GitError without git, outside a repository, and where there is no such revision."""
    full = folder.resolve()
    anchor = next(path for path in (full, *full.parents) if path.is_dir())
    try:
        _git(anchor, "rev-parse", "--show-toplevel")
    except GitError as error:
        raise GitError(f"{folder}: {error}", error.hint or "name a board in a git repository") from None
    try:
        commit = _git(anchor, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except GitError:
        raise GitError(f"no revision named {ref!r}", "name a branch, a tag or a commit; `git fetch` brings those of a remote") from None
    return Revision(ref, commit.decode().strip(), anchor, PurePosixPath(full.relative_to(anchor).as_posix()))


def not_ignored(folder: Path) -> list[PurePosixPath]:
    """The files under a folder that git has or would take, relative to it, sorted; all of them outside a repository."""
    try:
        listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0")
        names = {PurePosixPath(name) for name in listed if name}
    except GitError:
        names = {PurePosixPath(path.relative_to(folder).as_posix()) for path in folder.rglob("*")}
    return sorted(name for name in names if (folder / name).is_file())


def _git(at: Path, *arguments: str) -> bytes:
    """What a git command prints."""
    try:
        done = subprocess.run(["git", "-C", str(at), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise GitError("git is not installed", "install it; boards are compared through it") from None
    if done.returncode:
        raise GitError(done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed")
    return done.stdout
