"""A track made into cells: each with the explicit list of what its stages depend on, their keys, and why it would run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from prefbench.api import Component, Harness, Source
from prefbench.config import UNTRAINED, Named, Row, Track, resolved
from prefbench.errors import DamagedError
from prefbench.identity import CORE_NUMERICS_VERSION, digest, stage_key
from prefbench.registry import Kind, Registry, build
from prefbench.store.folder import Folder
from prefbench.store.sealed import read_sealed

STAGES = ("train", "answer", "judge", "score")
SCORE_VERSION = 1
"""Raised when a metric is computed differently from the same items."""


@dataclass(frozen=True)
class Cell:
    """One method, one scheduler, one seed; ``include`` lists what each stage depends on, and ``keys`` are the digests of those lists."""

    id: str
    row: Row
    seed: int
    include: Mapping[str, Mapping[str, Any]]
    keys: Mapping[str, str]

    @property
    def trained(self) -> bool:
        """False for a trivial row, which is a model as the source gave it."""
        return self.row.scheduler != UNTRAINED


@dataclass(frozen=True)
class CellState:
    """Where a cell stands: its status, why it would run (empty when it would not), and the stages that are finished."""

    status: str
    reason: str = ""
    finished: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planner:
    """Builds plugins from a track's names and options, and says what identifies them."""

    track: Track
    registry: Registry
    dtype: str

    def component(self, kind: Kind, named: Named) -> Component:
        """An instance of a plugin with the track's options."""
        return build(self.registry.get(kind, named.name), named.options)

    def identify(self, kind: Kind, named: Named) -> dict[str, Any]:
        """Name, resolved options, and the origin (distribution, version, source hash) of a plugin."""
        options = self.component(kind, named).options()
        origin = self.registry.origin(kind, named.name)
        return {
            "name": named.name,
            "options": options,
            "origin": {"distribution": origin.distribution, "version": origin.version, "source_sha256": origin.source_sha256},
        }

    def source(self) -> Source:
        """The track's source, its paths resolved against the track file."""
        return cast(Source, self.component("source", self.track.source)).locate(self.track.path.parent)

    def harnesses(self) -> dict[str, Harness]:
        """The track's harnesses by name."""
        return {named.name: cast(Harness, self.component("harness", named)) for named in self.track.harnesses}

    def cells(self) -> list[Cell]:
        """Every cell, seed by seed, so that a run that is cut short has whole seeds."""
        source = {"name": self.track.source.name, "identity": dict(self.source().identity())}
        return [self._cell(row, seed, source) for seed in self.track.seeds for row in self.track.rows]

    def _cell(self, row: Row, seed: int, source: dict[str, Any]) -> Cell:
        include: dict[str, dict[str, Any]] = {"train": self._train_include(row, seed, source)}
        keys = {"train": stage_key("train", include["train"])}
        judge = self.identify("judge", self.track.judge) if self.track.judge else None
        harnesses = {named.name: self.identify("harness", named) for named in self.track.harnesses}
        include["answer"] = {"train": keys["train"], "seed": seed, "harnesses": harnesses}
        keys["answer"] = stage_key("answer", include["answer"])
        include["judge"] = {"answer": keys["answer"], "judge": judge}
        keys["judge"] = stage_key("judge", include["judge"])
        include["score"] = {"judge": keys["judge"], "score_version": SCORE_VERSION}
        keys["score"] = stage_key("score", include["score"])
        return Cell(f"{row.method}.{row.scheduler}.s{seed}", row, seed, include, keys)

    def _train_include(self, row: Row, seed: int, source: dict[str, Any]) -> dict[str, Any]:
        common = {"core_numerics_version": CORE_NUMERICS_VERSION, "source": source}
        if row.scheduler == UNTRAINED:
            return {**common, "model": row.method, "dtype": self.dtype}
        method, scheduling = self.track.methods[row.method], self.track.schedulers[row.scheduler]
        rate = self.track.train.learning_rate if method.learning_rate is None else method.learning_rate
        return {
            **common,
            "model": "sft",
            "train": {**resolved(self.track.train), "learning_rate": rate, "dtype": self.dtype},
            "objective": self.identify("objective", method.objective),
            "scheduler": self.identify("scheduler", scheduling.scheduler),
            "seed": seed,
        }


FINISHED = ("done", "diverged")
"""Statuses of cells that have their result: divergence is one."""
FAILED = ("failed", "oom", "timeout")
"""Statuses of cells that are run again only when asked for."""


def cell_states(cells: Sequence[Cell], folder: Folder) -> dict[str, CellState]:
    """Where each cell stands in a run folder."""
    try:
        calibration = digest(folder.artefacts())
    except DamagedError:
        calibration = ""  # that of no record
    return {cell.id: cell_state(cell, folder, calibration) for cell in cells}


def cell_state(cell: Cell, folder: Folder, calibration: str) -> CellState:
    """Where a cell stands in a run folder whose artefacts have the digest ``calibration``."""
    finished = tuple(stage for stage in STAGES if mark_key(folder, cell.id, stage) == cell.keys[stage])
    if not folder.record_path(cell.id).exists():
        return CellState("planned", "not run yet" if not finished else f"{finished[-1]} is finished", finished)
    try:
        record = folder.read_record(cell.id)
    except DamagedError as error:
        return CellState("damaged", str(error), finished)
    for stage in STAGES:
        if record["keys"].get(stage) != cell.keys[stage]:
            changed = next(iter(differences(record["include"].get(stage, {}), cell.include[stage])), stage)
            return CellState("stale", f"{stage}: {changed}", finished)
    status = str(record["status"])
    if status == "done" and record["result"]["calibration_sha256"] != calibration:
        return CellState("damaged", "the folder's artefacts are not those that it was scored with", finished)
    if status == "done":
        return CellState(status, "", STAGES)
    return CellState(status, "" if status in FINISHED else described(record["error"]), finished)


def described(error: Mapping[str, Any] | None) -> str:
    """A record's error in a line, with its hint; a run that was stopped has none."""
    if not error:
        return "the run was stopped"
    hint = f"; {error['hint']}" if error.get("hint") else ""
    return f"{error['type']}: {error['message']}{hint}"


def mark_key(folder: Folder, cell: str, stage: str) -> str | None:
    """The key under which a cell finished a stage, or None."""
    path = folder.cell(cell) / f"{stage}.json"
    try:
        return str(read_sealed(path)["key"]) if path.exists() else None
    except DamagedError:
        return None  # a damaged mark is no mark: the stage runs again


def differences(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """What differs between two JSON values, one line each, with the dotted place."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from differences(before.get(key), after.get(key), f"{where}.{key}" if where else str(key))
    elif before != after:
        yield f"{where}: {before!r:.60} -> {after!r:.60}"
