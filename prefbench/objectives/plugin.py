"""Registers the built-in objectives."""

from __future__ import annotations

from prefbench.api import Objective, hookimpl
from prefbench.objectives.adaptive_margin import AlphaDpo, AMaPo
from prefbench.objectives.aot import Aot, AotUnpaired
from prefbench.objectives.apo import ApoDown, ApoZero
from prefbench.objectives.beta_dpo import BetaDpo
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.hinge import Hinge
from prefbench.objectives.ipo import Ipo
from prefbench.objectives.kto import Kto, KtoPaired
from prefbench.objectives.ld_dpo import LdDpo
from prefbench.objectives.likelihood import Cpo, Orpo
from prefbench.objectives.links import DiscoPop, Exo, Robust
from prefbench.objectives.pointwise import BcoPair, Nca, SppoHard
from prefbench.objectives.ranked import Rrhf, SlicHf
from prefbench.objectives.score_gap import Mmpo, Odpo
from prefbench.objectives.shifted import DpoShift, RDpo
from prefbench.objectives.simpo import AlphaPo, SimPo
from prefbench.objectives.tdpo import Tdpo1, Tdpo2
from prefbench.objectives.wpo import Wpo

REFERENCE_BASED: list[type[Objective]] = [
    *(Robust, Exo, DiscoPop, Nca, BcoPair, SppoHard, Kto, KtoPaired, Aot, AotUnpaired),
    *(RDpo, DpoShift, LdDpo, Odpo, Mmpo, Wpo, Tdpo1, Tdpo2),
]


@hookimpl
def prefbench_objectives() -> list[type[Objective]]:
    """The built-in losses."""
    return [Dpo, Ipo, Hinge, ApoZero, ApoDown, SimPo, *REFERENCE_BASED, BetaDpo, AlphaPo, AMaPo, AlphaDpo, Cpo, Orpo, SlicHf, Rrhf]
