"""Before a run goes on in a folder: what is damaged is set aside, so that it is missing, and made again."""

from __future__ import annotations

from prefbench.store.files import read_packed_json, sweep
from prefbench.store.folder import Folder
from prefbench.store.sealed import read_or_set_aside, set_aside


def heal(folder: Folder) -> None:
    """Set aside every damaged record, items file and artefact, and sweep away what killed processes left half-written."""
    sweep(folder.root)
    for path in sorted((folder.root / "records").glob("*.json")):
        read_or_set_aside(path, lambda found: _checked(folder, found.stem))
    for path in sorted((folder.root / "artefacts").glob("*.json.gz")):
        read_or_set_aside(path, read_packed_json)


def _checked(folder: Folder, cell: str) -> None:
    """Raises DamagedError when a record is; a record whose items are damaged follows them."""
    record = folder.read_record(cell)
    if record["status"] == "done" and not folder.items_are_whole(cell, record["result"]["items_sha256"]):
        set_aside(folder.record_path(cell), f"{folder.record_path(cell)}: its items are damaged or missing")
