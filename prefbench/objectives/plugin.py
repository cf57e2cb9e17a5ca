"""Registers the built-in objectives."""

from __future__ import annotations

from prefbench.api import Objective, hookimpl
from prefbench.objectives.adaptive_margin import AlphaDpo, AMaPo
from prefbench.objectives.apo import ApoDown, ApoZero
from prefbench.objectives.beta_dpo import BetaDpo
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.hinge import Hinge
from prefbench.objectives.ipo import Ipo
from prefbench.objectives.likelihood import Cpo, Orpo
from prefbench.objectives.simpo import AlphaPo, SimPo


@hookimpl
def prefbench_objectives() -> list[type[Objective]]:
    """The built-in losses."""
    return [Dpo, Ipo, Hinge, ApoZero, ApoDown, SimPo, AlphaPo, AMaPo, AlphaDpo, Cpo, Orpo, BetaDpo]
