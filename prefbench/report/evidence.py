"""What a board is derived from: the track, the records, the judged items and the numbers that harnesses fixed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefbench.api import Calibration, Harness
from prefbench.config import Named
from prefbench.errors import DamagedError, PrefbenchError
from prefbench.registry import Registry, build
from prefbench.report.claims import Claims, read_claims
from prefbench.report.keys import Key, condition_of
from prefbench.report.metrics import Scores, measure
from prefbench.store.folder import Folder
from prefbench.tune.study import Study, read_study

DONE = "done"
"""The status of a cell that has a result."""


@dataclass(frozen=True)
class CellEvidence:
    """A cell's record, and its scores where it is done."""

    record: Mapping[str, Any]
    scores: Scores | None

    @property
    def row(self) -> Key:
        """The labels of its method, its scheduler and its condition, which name its row."""
        return Key(str(self.record["method"]["label"]), str(self.record["scheduler"]["label"]), condition_of(self.record))

    @property
    def seed(self) -> int:
        """The cell's seed."""
        return int(self.record["seed"])


@dataclass(frozen=True)
class Evidence:
    """A folder's track (the tables of its file), its cells by name, in the order of names, the studies that chose its rows' settings by the names
    of the rows, what each run in it took, and what papers claim."""

    track: Mapping[str, Any]
    cells: Mapping[str, CellEvidence]
    studies: Mapping[str, Study] = field(default_factory=dict)
    sessions: tuple[Mapping[str, Any], ...] = ()
    claims: Claims = field(default_factory=Claims)

    @property
    def title(self) -> str:
        """The track's name and version."""
        return track_title(self.track)

    @property
    def rows(self) -> dict[Key, list[CellEvidence]]:
        """The cells of each row, by their seeds."""
        grouped: dict[Key, list[CellEvidence]] = {}
        for cell in sorted(self.cells.values(), key=lambda cell: cell.seed):
            grouped.setdefault(cell.row, []).append(cell)
        return grouped


def read_evidence(root: Path, harnesses: Mapping[str, Harness]) -> Evidence:
    """Read and score everything under a run folder or a board folder; raises PrefbenchError naming the file that is missing or damaged."""
    folder = Folder(root)
    known = calibrations(folder.artefacts())
    cells = {cell: read_cell(folder, cell, harnesses, known) for cell in folder.records()}
    return Evidence(read_tables(folder), cells, read_studies(folder), read_sessions(folder), read_claims(folder))


def track_title(tables: Mapping[str, Any]) -> str:
    """Name and version, from the tables of a track file."""
    return f"{tables['track']['name']}, version {tables['track']['version']}"


def scores_of(cells: Sequence[CellEvidence]) -> dict[int, Scores]:
    """The scores of a row's done cells by seed."""
    return {cell.seed: cell.scores for cell in cells if cell.scores}


def read_studies(folder: Folder) -> dict[str, Study]:
    """The studies of a folder by row, in the order of their names."""
    paths = sorted((folder.root / "tuning").glob("*.jsonl.gz"))
    return {path.name.removesuffix(".jsonl.gz"): read_study(path) for path in paths}


def read_sessions(folder: Folder) -> tuple[dict[str, Any], ...]:
    """What each run in a folder took; none where that is not known."""
    try:
        lines = folder.sessions.read_text(encoding="utf-8").splitlines() if folder.sessions.exists() else []
        return tuple(json.loads(line) for line in lines)
    except ValueError as error:
        raise DamagedError(f"{folder.sessions}: damaged: {error}", "restore it from the run or from version control") from None


def read_cell(folder: Folder, cell: str, harnesses: Mapping[str, Harness], known: Mapping[str, Calibration]) -> CellEvidence:
    """One cell with its scores."""
    record = folder.read_record(cell)
    if record["status"] != DONE:
        return CellEvidence(record, None)
    path = folder.items_path(cell)
    if not path.exists():
        raise PrefbenchError(f"{path}: the items of a cell that is done are missing", "restore the file, or run the cell again")
    return CellEvidence(record, measure(harnesses, folder.items(cell), known))


def calibrations(artefacts: Mapping[str, Mapping[str, Any]]) -> dict[str, Calibration]:
    """The calibration of each harness that fixed some numbers; no board keeps its texts."""
    return {name: Calibration(numbers=numbers) for name, numbers in artefacts.items()}


def read_tables(folder: Folder) -> dict[str, Any]:
    """The tables of the track file, read without looking for the plugins that it names; [track] has a name and a version."""
    try:
        tables = tomllib.loads(folder.track.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise PrefbenchError(f"{folder.track}: there is no track file", "name a run folder or a board folder") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PrefbenchError(f"{folder.track}: not a TOML file: {error}", "restore it from the run or from version control") from None
    if not {"name", "version"} <= tables.get("track", {}).keys():
        raise PrefbenchError(
            f"{folder.track}: the table [track] needs a name and a version", "restore it from the run or from version control"
        )
    return tables


def track_harnesses(folder: Folder, registry: Registry) -> dict[str, Harness]:
    """The harnesses that the track file names, by name or by name and label, with its options; nothing else of it needs to be installed.

    Raises PrefbenchError where a harness is not known or an option does not fit it.
    """
    tables = [dict(table) for table in read_tables(folder).get("harness", [])]
    named = [Named(table.pop("name", ""), table, table.pop("label", "")) for table in tables]
    return {found.key: build(registry.get("harness", found.name), found.options) for found in named if found.name}
