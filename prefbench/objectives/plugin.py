"""Registers the built-in objectives."""

from __future__ import annotations

from prefbench.api import Objective, hookimpl
from prefbench.objectives.apo import ApoDown, ApoZero
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.hinge import Hinge
from prefbench.objectives.ipo import Ipo
from prefbench.objectives.simpo import SimPo


@hookimpl
def prefbench_objectives() -> list[type[Objective]]:
    """The built-in losses."""
    return [Dpo, Ipo, Hinge, ApoZero, ApoDown, SimPo]
