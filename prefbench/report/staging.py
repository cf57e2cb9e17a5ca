"""A board put together beside itself, and brought into its place file by file when it is known to be sound."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from prefbench.cache import cache_folder
from prefbench.identity import digest
from prefbench.report.structure import PARTS
from prefbench.store.files import write_bytes, write_text
from prefbench.store.folder import Folder

SHARED = ("track.toml", "claims.toml", "runs.jsonl")
"""Files that a board has once."""
RENDERED = ("board.csv", "README.md", "forest.png")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One at a time per board on a machine; the lock lies in the cache, since a board folder holds nothing that is not committed."""
    path = cache_folder() / "locks" / f"{digest(str(root.resolve()))}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def stage(run: Folder, board: Folder, staged: Folder, whole: bool = False) -> None:
    """Copy a board, of one that is replaced as a whole the track alone; what it lacks of track and artefacts comes from the run."""
    for name in ("track.toml", "claims.toml") if whole else (*SHARED, *PARTS, *RENDERED):
        _copy(board.root / name, staged.root / name)
    for name in ("track.toml", "claims.toml", "artefacts"):
        if not (staged.root / name).exists():
            _copy(run.root / name, staged.root / name)
    _add_sessions(run, staged)


def _add_sessions(run: Folder, staged: Folder) -> None:
    """What the run took, behind what the board's other runs took; a run that is brought twice is told once."""
    if run.sessions.exists():
        known = staged.sessions.read_text(encoding="utf-8").splitlines() if staged.sessions.exists() else []
        lines = dict.fromkeys([*known, *run.sessions.read_text(encoding="utf-8").splitlines()])
        write_text(staged.sessions, "".join(f"{line}\n" for line in lines))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copyfile(source, target)


def stage_cell(run: Folder, staged: Folder, cell: str, record: Mapping[str, Any]) -> None:
    """Put a cell of a run into a staged board, with this record."""
    staged.write_record(cell, record)
    staged.items_path(cell).unlink(missing_ok=True)  # those of a cell that was done before and diverged now
    if run.items_path(cell).exists():
        staged.items_path(cell).parent.mkdir(exist_ok=True)
        shutil.copyfile(run.items_path(cell), staged.items_path(cell))
    tuning = record["method"].get("tuning")
    if isinstance(tuning, Mapping):
        staged.study_path(tuning["study"]).parent.mkdir(exist_ok=True)
        shutil.copyfile(run.study_path(tuning["study"]), staged.study_path(tuning["study"]))


def copy_changed(staged: Path, root: Path) -> None:
    """Write what is new or different: records after the items that they speak of, so that a second attempt can mend a first, rendering last."""
    order = (*SHARED, "artefacts", "tuning", "items", "records", *RENDERED)
    files = [path.relative_to(staged) for path in staged.rglob("*") if path.is_file()]
    for file in sorted(files, key=lambda file: (order.index(file.parts[0]), str(file))):
        data = (staged / file).read_bytes()
        if not (root / file).exists() or (root / file).read_bytes() != data:
            write_bytes(root / file, data)
    for path in (root / "items").glob("*.jsonl.gz"):
        if not (staged / "items" / path.name).exists():
            path.unlink()
