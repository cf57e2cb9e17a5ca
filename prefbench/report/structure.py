"""The files that a board folder may hold, and how much they may take in a repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from prefbench.report.problems import Problem
from prefbench.store.folder import Folder
from prefbench.store.revision import not_ignored

BOARDS = "leaderboards"
"""The name of the folder that boards lie in."""

BOARD_LIMIT = 16 * 2**20
"""Bytes that a board may take: 40 rows of 10 seeds, with items at their limit of 24 KiB and records of 10 KiB, are 13.3 MiB, and their trials half
a MiB more.

A repository keeps every version of a file for good.
"""

ITEMS_LIMIT = 24 * 2**10
"""Bytes that one cell's items may take: 805 preferences to eight decimals and Prefworld's other 560 items are a little over 20 KiB."""

PARTS = ("records", "items", "artefacts", "tuning")
KNOWN = re.compile(
    r"track\.toml|board\.csv|README\.md|forest\.png"
    r"|[^/.][^/]*\.py"  # how the track's data are made
    r"|[^/.][^/]*_prompts\.jsonl"  # what its judge is asked
    r"|claims\.toml|runs\.jsonl|tuning/[^/.][^/]*\.jsonl\.gz"
    r"|records/[^/.][^/]*\.json|items/[^/.][^/]*\.jsonl\.gz|artefacts/[^/.][^/]*\.json\.gz"
)
RUN_PARTS = ("cells", "trials", "logs", "choices.json", "commits.json")
"""What a run keeps to go on."""


def is_board(root: Path) -> bool:
    """Whether a folder is a board, and no run: it lies under ``leaderboards``, or has nothing that a run keeps to go on."""
    return root.resolve().parent.name == BOARDS or not any((root / part).exists() for part in RUN_PARTS)


def structure(folder: Folder) -> Iterator[Problem]:
    """Files that no board has, and a board that is too large; what git ignores is no part of a board."""
    if not is_board(folder.root):
        return
    files = not_ignored(folder.root)
    unknown = [file for file in files if not KNOWN.fullmatch(str(file))]
    for name in dict.fromkeys(_shown(file) for file in unknown):
        yield Problem(
            name, "file", "track, records, items, artefacts, their rendering, scripts (*.py) and *_prompts.jsonl", "something else"
        )
    size = sum((folder.root / file).stat().st_size for file in files)
    if size > BOARD_LIMIT:
        yield Problem(".", "size of all files", f"at most {BOARD_LIMIT} bytes", f"{size} bytes")


def _shown(file: PurePosixPath) -> str:
    """A stray file by its path; the files of a folder that no board has, by that folder."""
    return str(file) if len(file.parts) == 1 or file.parts[0] in PARTS else f"{file.parts[0]}/"
