"""Margin-based preference losses of arXiv 2508.08466, registered with prefbench."""

from __future__ import annotations

from prefbench.api import Objective, hookimpl
from prefbench_margin.ams import Ams
from prefbench_margin.apo_hinge import ApoHingeSoftplus, ApoHingeZero

__all__ = ["Ams", "ApoHingeSoftplus", "ApoHingeZero", "prefbench_objectives"]


@hookimpl
def prefbench_objectives() -> list[type[Objective]]:
    """AMS and the two anchored hinges."""
    return [Ams, ApoHingeZero, ApoHingeSoftplus]
