"""What came of a cell, and the record that is written of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefbench.config import Track
from prefbench.engine.tasks import NEEDS_FAILED
from prefbench.plan import Cell
from prefbench.store import provenance
from prefbench.train.device import device_name, usable_cores
from prefbench.tune.trials import studied_row

STATUS_OF_ERROR = {"OutOfMemory": "oom", "Stalled": "timeout"}
"""The statuses of cells whose workers could not say themselves what happened; of any other error it is ``failed``."""


@dataclass(frozen=True)
class Outcome:
    """What came of a cell: its status, its result (empty unless done), its error, seconds by clock, and bytes at the peak, where known."""

    status: str
    result: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int | None = None
    how: Mapping[str, str] = field(default_factory=dict)
    """What was chosen for its training by measuring or by looking at the model, and why."""

    @property
    def reached_its_end(self) -> bool:
        """False where the run was stopped, or the cell's needs failed."""
        return self.status != "interrupted" and not (self.error and self.error["type"] == NEEDS_FAILED)

    @classmethod
    def of_error(cls, error: Mapping[str, Any]) -> Outcome:
        """Of a cell whose worker died, hung, or never got it."""
        return cls(STATUS_OF_ERROR.get(str(error["type"]), "failed"), error=error)


@dataclass(frozen=True)
class Circumstances:
    """What all cells of a run share and a record names: the track, the compute dtype, and the threads of a worker."""

    track: Track
    dtype: str
    threads: int


def record_of(cell: Cell, outcome: Outcome, around: Circumstances, log: str | None) -> dict[str, Any]:
    """The record of a cell, JSON-able; ``log`` is where its worker's output is, relative to the run folder."""
    track, include = around.track, cell.include["train"]
    return {
        "cell": cell.id,
        "mode": "reproduced",
        "track": {"name": track.name, "version": track.version, "seed_varies": list(track.seed_varies), "tuning": track.tuning},
        "method": _method(cell, track),
        "scheduler": {"label": cell.row.scheduler, **include.get("scheduler", {})},
        **_condition(cell, track),
        "seed": cell.seed,
        "status": outcome.status,
        "keys": dict(cell.keys),
        "include": {stage: dict(values) for stage, values in cell.include.items()},
        "result": dict(outcome.result),
        "clocks": {name: round(seconds, 3) for name, seconds in outcome.seconds.items()},
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "host": {
            "device": device_name(),
            "dtype": around.dtype,
            "weights": track.model.weights,
            "attention": track.model.attention,
            "cores": usable_cores(),
            "threads": around.threads,
            **outcome.how,
        },
        "packages": provenance.packages(),
        "git": provenance.git(),
        "error": {**outcome.error, "log": log} if outcome.error else None,
    }


def _condition(cell: Cell, track: Track) -> dict[str, Any]:
    """What is otherwise for the cell's row; nothing where nothing is."""
    condition = track.conditions.get(cell.row.condition)
    return {"condition": {name: value for name, value in vars(condition).items() if value}} if condition else {}


def _tuning(cell: Cell, track: Track) -> dict[str, Any]:
    """Where the method's settings are from: a study by its sha256, with the condition that it was made under; the track; or the plugin's defaults."""
    if not cell.row.trained:
        return {}
    if cell.row.chosen is None:
        return {"tuning": "pre-tuned" if track.methods[cell.row.method].pre_tuned else "defaults"}
    return {"tuning": "a trial" if cell.row.is_trial else {"study": studied_row(track, cell.row).name, "sha256": cell.row.chosen.study}}


def _method(cell: Cell, track: Track) -> dict[str, Any]:
    include = cell.include["train"]
    objective = include.get("objective", {"name": None, "options": {}, "origin": None})
    return {
        "label": cell.row.method,
        "objective": objective["name"],
        "options": objective["options"],
        "learning_rate": include.get("train", {}).get("learning_rate"),
        "origin": objective["origin"],
        **_tuning(cell, track),
    }
