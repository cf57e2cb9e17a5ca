"""What is known about a plugin and about a component: the kinds, a plugin's row, a component's origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prefbench.api import Column, Component, Harness, Judge, Objective, Scheduler, Source

Kind = Literal["objective", "scheduler", "column", "harness", "judge", "source"]
Status = Literal["ok", "broken", "disabled", "unchecked"]

KINDS: Mapping[Kind, type[Component]] = {
    "objective": Objective,
    "scheduler": Scheduler,
    "column": Column,
    "harness": Harness,
    "judge": Judge,
    "source": Source,
}
"""The class that the components of each kind derive from."""

HOOKS: Mapping[str, Kind] = {
    "prefbench_objectives": "objective",
    "prefbench_schedulers": "scheduler",
    "prefbench_columns": "column",
    "prefbench_harnesses": "harness",
    "prefbench_judges": "judge",
    "prefbench_sources": "source",
}
"""The kind that each hook returns."""


@dataclass(frozen=True)
class Origin:
    """Distribution and version that a component comes from (both empty for a single file), and the sha256 of the source that defines it."""

    distribution: str
    version: str
    source_sha256: str


@dataclass(frozen=True)
class Registered:
    """A component that passed the checks."""

    kind: Kind
    name: str
    component: type[Component]
    origin: Origin


@dataclass(frozen=True)
class PluginRow:
    """What became of one plugin.

    ``name`` is that of the entry point, or of the file without its suffix; ``origin`` the module or the file. ``provides`` holds
    ``"objective dpo"`` and the like; for a broken or disabled plugin it is what the plugin offered, or was last seen to offer.
    ``where`` is ``file:line``.
    """

    name: str
    distribution: str
    version: str
    origin: str
    status: Status
    reason: str = ""
    where: str = ""
    provides: tuple[str, ...] = ()


class BrokenPluginError(Exception):
    """Why a plugin cannot be used, where to look, and what it would have provided as far as that is known."""

    def __init__(self, reason: str, where: str = "", provides: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.where = where
        self.provides = provides
