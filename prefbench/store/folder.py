"""The places of a run folder or a board folder: track, records, items, artefacts, and what each cell keeps to resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench.store.files import read_json, read_lines, read_packed_json, write_lines, write_packed_json
from prefbench.store.migrate import RECORD_SCHEMA, present
from prefbench.store.sealed import lines_are_whole, write_sealed


@dataclass(frozen=True)
class Folder:
    """A run folder; a board folder has the same shape without ``cells``."""

    root: Path

    @property
    def track(self) -> Path:
        """The frozen rules, as they were given."""
        return self.root / "track.toml"

    @property
    def choices(self) -> Path:
        """What was chosen by measuring, once per run folder."""
        return self.root / "choices.json"

    def selection_path(self, method: str, scheduler: str) -> Path:
        """How a row's selection is trained on, chosen by measuring once per run folder."""
        return self.root / "choices" / f"{method}.{scheduler}.json"

    @property
    def compilation(self) -> Path:
        """Whether layers are compiled, chosen by measuring once per run folder."""
        return self.root / "choices" / "compilation.json"

    @property
    def commits(self) -> Path:
        """The commits that the track's branches and tags were resolved to, once per run folder."""
        return self.root / "commits.json"

    @property
    def claims(self) -> Path:
        """What papers claim about the track's rows."""
        return self.root / "claims.toml"

    @property
    def sessions(self) -> Path:
        """What each run in this folder took: its seconds, its cores, and how many cells and trials it ran; a line each."""
        return self.root / "runs.jsonl"

    def record_path(self, cell: str) -> Path:
        """One JSON per cell."""
        return self.root / "records" / f"{cell}.json"

    def items_path(self, cell: str) -> Path:
        """The judged items of a cell: ids, numbers and labels."""
        return self.root / "items" / f"{cell}.jsonl.gz"

    def artefact_path(self, harness: str) -> Path:
        """The numbers that a harness fixed once per track."""
        return self.root / "artefacts" / f"{harness}.json.gz"

    def over_long_path(self, seed: int, condition: str = "") -> Path:
        """Where those of a seed's pairs are from that were longer than the track allows."""
        return self.root / "over_long" / f"{condition}.s{seed}.json".lstrip(".")

    def study_path(self, row: str) -> Path:
        """What came of the trials that chose a row's settings."""
        return self.root / "tuning" / f"{row}.jsonl.gz"

    def log_path(self, task: str) -> Path:
        """What a worker printed while it ran a task, tracebacks included."""
        return self.root / "logs" / f"{task.replace(' ', '-')}.log"

    def cell(self, cell: str) -> Path:
        """The folder in which a cell keeps its checkpoint, answers and stage marks."""
        return self.root / "cells" / cell

    def records(self) -> dict[str, dict[str, Any]]:
        """Every record by cell, in the order of their names."""
        return {path.stem: self.read_record(path.stem) for path in sorted((self.root / "records").glob("*.json"))}

    def read_record(self, cell: str) -> dict[str, Any]:
        """A cell's record in the present schema. Raises DamagedError when it is not what was written, PrefbenchError when it is too new."""
        path = self.record_path(cell)
        return present(read_json(path), path)

    def write_record(self, cell: str, record: Mapping[str, Any]) -> None:
        """Write a cell's record, schema first, its seal last."""
        write_sealed(self.record_path(cell), {"schema": RECORD_SCHEMA, **record})

    def items(self, cell: str) -> list[dict[str, Any]]:
        """A cell's judged items; none when it has no file."""
        path = self.items_path(cell)
        return read_lines(path) if path.exists() else []

    def items_are_whole(self, cell: str, expected: str) -> bool:
        """Whether a cell's items have this sha256; a file that has another is set aside."""
        return lines_are_whole(self.items_path(cell), expected)

    def write_items(self, cell: str, items: list[dict[str, Any]]) -> str:
        """Write a cell's items; their sha256."""
        return write_lines(self.items_path(cell), items)

    def artefacts(self) -> dict[str, Any]:
        """The numbers of every harness that fixed some, by harness."""
        return {path.name.removesuffix(".json.gz"): read_packed_json(path) for path in sorted((self.root / "artefacts").glob("*.json.gz"))}

    def write_artefact(self, harness: str, numbers: Mapping[str, Any]) -> None:
        """Write the numbers that a harness fixed."""
        write_packed_json(self.artefact_path(harness), numbers)
