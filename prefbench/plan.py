"""A track made into cells: each with the explicit list of what its stages depend on, their keys, and why it would run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from prefbench.api import Component, Harness, Judge, Objective, Scheduler, Source
from prefbench.config import Named, Row, Track, resolved
from prefbench.errors import DamagedError, PrefbenchError, shortened
from prefbench.identity import CORE_NUMERICS_VERSION, digest, stage_key
from prefbench.registry import Kind, Registry, build, did_you_mean
from prefbench.schedulers.chain import Chain
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
        return self.row.trained


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
        """Name, resolved options that decide what comes out, and the origin (distribution, version, source hash) of a plugin."""
        found = self.judge(named) if kind == "judge" else self.component(kind, named)
        options = found.identity_options()
        origin = self.registry.origin(kind, named.name)
        return {
            "name": named.name,
            "options": options,
            "origin": {"distribution": origin.distribution, "version": origin.version, "source_sha256": origin.source_sha256},
        }

    def objective_of(self, row: Row) -> Named:
        """A row's objective with the method's options, its beta the one that was chosen for the row."""
        named = self.track.methods[row.method].objective
        if row.chosen is None or row.chosen.beta is None:
            return named
        return dataclasses.replace(named, options={**named.options, "beta": row.chosen.beta})

    def objective(self, row: Row) -> Objective:
        """A new instance of a row's objective."""
        return cast(Objective, self.component("objective", self.objective_of(row)))

    def learning_rate(self, row: Row) -> float:
        """The one that was chosen for the row, its condition's, the method's own, or the track's."""
        said_by = (row.chosen, self.track.conditions.get(row.condition), self.track.methods[row.method])
        rates = (known.learning_rate for known in said_by if known)
        return next((rate for rate in rates if rate is not None), self.track.train.learning_rate)

    def scheduler(self, row: Row) -> Scheduler:
        """A new instance of a row's scheduler; several links make a chain. Raises PrefbenchError for links that cannot be chained."""
        links = [cast(Scheduler, self.component("scheduler", link)) for link in self.track.schedulers[row.scheduler].links]
        return links[0] if len(links) == 1 else Chain(tuple(links))

    def identify_scheduler(self, links: Sequence[Named]) -> dict[str, Any]:
        """Name, options and origin of a scheduler; of a chain, options and origins by link."""
        found = [self.identify("scheduler", link) for link in links]
        if len(found) == 1:
            return found[0]
        names = [link["name"] for link in found]
        # Two labels of a track may be one plugin with different options: under one name the first link's would be lost.
        keys = [name if names.count(name) == 1 else f"{name} {place}" for place, name in enumerate(names, start=1)]
        return {
            "name": "+".join(names),
            **{part: {key: link[part] for key, link in zip(keys, found, strict=True)} for part in ("options", "origin")},
        }

    def columns(self, row: Row) -> tuple[str, ...]:
        """The columns that a row needs, by label: its objective's first, because other columns may train with it."""
        return tuple(dict.fromkeys((*self.objective(row).needs, *self.scheduler(row).needs)))

    def column(self, label: str) -> Named | None:
        """The plugin behind a column's label: the track's table of that name, or the plugin itself. None for what only pairs can bring."""
        known = self.track.columns.get(label)
        return known or (Named(label) if label in self.registry.names("column") else None)

    def refuse_unknown_columns(self) -> None:
        """Raise PrefbenchError for a column that a row needs and that neither a plugin, the track nor the pairs have, where that can be told."""
        brought = {condition: self.source(condition).pair_columns for condition in {row.condition for row in self.track.rows}}
        needs = {(label, row.condition): row for row in self.track.rows if row.trained for label in self.columns(row)}
        for (label, condition), row in needs.items():
            known = {*self.registry.names("column"), *self.track.columns, *(brought[condition] or ())}
            if brought[condition] is not None and label not in known:
                message = f"{self.track.path}: {row.method} with {row.scheduler} needs the column {label!r}, and there is none of that name"
                raise PrefbenchError(message, did_you_mean(label, known) or other_columns(known))

    def uses_objective(self, label: str) -> bool:
        """Whether a column trains policies with the objective of the row that needs it."""
        named = self.column(label)
        return named is not None and self.registry.get("column", named.name).uses_objective

    def source(self, condition: str = "") -> Source:
        """The track's source, its paths resolved against the track file, with the options of a condition."""
        named, changed = self.track.source, self.track.conditions[condition].source if condition else {}
        found = self.component("source", dataclasses.replace(named, options={**named.options, **changed}))
        return cast(Source, found).locate(self.track.path.parent)

    def judge(self, named: Named) -> Judge:
        """A judge, its paths resolved against the track file."""
        return cast(Judge, self.component("judge", named)).locate(self.track.path.parent)

    def harnesses(self) -> dict[str, Harness]:
        """The track's harnesses by name, or by name and label."""
        return {named.key: cast(Harness, self.component("harness", named)) for named in self.track.harnesses}

    def cells(self, rows: Sequence[Row] | None = None) -> list[Cell]:
        """Every cell of the rows, the track's unless given, seed by seed, so that a run that is cut short has whole seeds."""
        wanted = self.track.rows if rows is None else rows
        asked = self._asked
        return [self._cell(row, seed, asked) for seed in self.track.seeds for row in wanted]

    @cached_property
    def _asked(self) -> dict[str, dict[str, Any]]:
        """What identifies each harness's questions and files: the same under every condition, which only changes pairs."""
        found = self.source()
        return {named.key: dict(found.harness_identity(named.name)) for named in self.track.harnesses}

    @cached_property
    def _sources(self) -> dict[str, dict[str, Any]]:
        """What identifies the source under each condition."""
        return {
            condition: {"name": self.track.source.name, "identity": dict(self.source(condition).identity())}
            for condition in ("", *self.track.conditions)
        }

    def _cell(self, row: Row, seed: int, asked: Mapping[str, Mapping[str, Any]]) -> Cell:
        include: dict[str, dict[str, Any]] = {"train": self._train_include(row, seed, self._sources[row.condition])}
        keys = {"train": stage_key("train", include["train"])}
        judge = self.identify("judge", self.track.judge) if self.track.judge else None
        harnesses = {named.key: self.identify("harness", named) for named in self.track.harnesses}
        include["answer"] = {
            "train": keys["train"],
            "seed": seed,
            "harnesses": harnesses,
            "questions": {name: identity["questions"] for name, identity in asked.items() if identity.get("questions")},
            "answers": resolved(self.track.answers),
        }
        keys["answer"] = stage_key("answer", include["answer"])
        files = {name: identity["files"] for name, identity in asked.items() if identity.get("files")}
        include["judge"] = {"answer": keys["answer"], "judge": judge, "files": files}
        keys["judge"] = stage_key("judge", include["judge"])
        include["score"] = {"judge": keys["judge"], "score_version": SCORE_VERSION}
        keys["score"] = stage_key("score", include["score"])
        return Cell(cell_name(row, seed), row, seed, include, keys)

    def _train_include(self, row: Row, seed: int, source: dict[str, Any]) -> dict[str, Any]:
        common = {"core_numerics_version": CORE_NUMERICS_VERSION, "source": source, "loading": resolved(self.track.model)}
        if not row.trained:
            return {**common, "model": row.method, "dtype": self.dtype}
        scheduling = self.track.schedulers[row.scheduler]
        return {
            **common,
            "model": "sft",
            "train": {**resolved(self.track.train), "learning_rate": self.learning_rate(row), "dtype": self.dtype},
            "lora": resolved(self.track.lora) if self.track.lora else None,
            "objective": self.identify("objective", self.objective_of(row)),
            "scheduler": self.identify_scheduler(scheduling.links),
            "seed": seed,
            **self._column_identities(row),
        }

    def _column_identities(self, row: Row) -> dict[str, Any]:
        """Those of the row's columns that a plugin computes; the others came with the pairs, and are part of the source."""
        known = {label: self.column(label) for label in self.columns(row)}
        found = {label: self.identify("column", named) for label, named in known.items() if named}
        return {"columns": found} if found else {}


def cell_name(row: Row, seed: int) -> str:
    """``dpo.uniform.s0``."""
    return f"{row.name}.s{seed}"


def other_columns(known: Iterable[str]) -> str:
    """What to do where a column has no name near."""
    return f"there are {', '.join(sorted(known))}; an option of the method may name one of them, or the pairs bring it"


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
        yield f"{where}: the source changed" if where.endswith("source_sha256") else f"{where}: {shortened(before)} -> {shortened(after)}"
