"""Margin-based preference losses of arXiv 2508.08466, registered with prefbench."""

from __future__ import annotations

from prefbench.api import Objective, hookimpl
from prefbench_margin.apo_hinge import ApoHingeZero

__all__ = ["ApoHingeZero", "prefbench_objectives"]


@hookimpl
def prefbench_objectives() -> list[type[Objective]]:
    """APO-hinge-zero."""
    return [ApoHingeZero]
