"""Where a record comes from: packages, git, host. Nothing here enters an identity, and nothing names a user or a path."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from typing import Any

PACKAGES = ("prefbench", "torch", "transformers", "tokenizers", "peft", "alpaca-eval", "fschat", "numpy", "scikit-learn")


@cache
def packages() -> dict[str, str]:
    """Versions of the packages that a number may depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {"python": platform.python_version(), **found}


@cache
def git() -> dict[str, Any] | None:
    """The commit of the working folder and whether it was clean; None outside a repository."""
    commit = _git("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "clean": _git("status", "--porcelain", "--untracked-files=no") == ""}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
