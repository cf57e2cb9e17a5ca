"""A folder at a revision of a real repository, and the two-line errors where there is none."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

import pytest

from prefbench.store.files import write_text
from prefbench.store.revision import GitError, not_ignored, revision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two committed files, one of which changed since, and a third that is ignored."""
    root = tmp_path / "repository"
    found = root / "outer" / "für alle"
    write_text(found / "a.txt", "one\n")
    write_text(found / "deep" / "b.txt", "two\n")
    write_text(root / ".gitignore", "*.log\n")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(root), *arguments], check=True)
    write_text(found / "a.txt", "changed\n")
    write_text(found / "new.log", "")
    return found


def test_the_files_are_those_of_the_commit_whatever_lies_there_now(folder: Path) -> None:
    then = revision(folder, "HEAD")
    assert list(map(str, then.names())) == ["a.txt", "deep/b.txt"]
    assert then.read(PurePosixPath("a.txt")) == b"one\n"
    for path in (folder / "a.txt", folder / "deep" / "b.txt", folder / "new.log"):
        path.unlink()
    (folder / "deep").rmdir()
    folder.rmdir()
    gone = revision(folder, "HEAD")
    assert list(map(str, gone.names())) == ["a.txt", "deep/b.txt"]
    assert gone.read(PurePosixPath("deep/b.txt")) == b"two\n"


def test_a_folder_that_the_commit_does_not_have_is_empty(folder: Path) -> None:
    assert revision(folder.with_name("other"), "HEAD").names() == []


def test_files_that_are_ignored_or_gone_are_not_listed(folder: Path) -> None:
    (folder / "deep" / "b.txt").unlink()
    write_text(folder / "untracked.txt", "")
    assert list(map(str, not_ignored(folder))) == ["a.txt", "untracked.txt"]


def test_outside_a_repository_every_file_is_listed(tmp_path: Path) -> None:
    write_text(tmp_path / "x" / "new.log", "")
    assert list(map(str, not_ignored(tmp_path))) == ["x/new.log"]


@pytest.mark.parametrize("ref", ["nowhere", "--all", "HEAD:outer"])
def test_a_revision_that_is_none_is_an_error_that_names_it(folder: Path, ref: str) -> None:
    with pytest.raises(GitError, match=f"no revision named '{ref}'"):
        revision(folder, ref)


def test_no_repository_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="not a git repository") as caught:
        revision(tmp_path / "board", "HEAD")
    assert caught.value.hint == "name a board in a git repository"


def test_no_git_is_an_error_with_a_hint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitError, match="git is not installed") as caught:
        revision(folder, "HEAD")
    assert "install it" in caught.value.hint
