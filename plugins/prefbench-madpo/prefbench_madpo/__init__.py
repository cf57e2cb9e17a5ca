"""Margin-adaptive DPO of arXiv 2510.05342 and the reward model behind it, registered with prefbench."""

from __future__ import annotations

from prefbench.api import Column, Objective, hookimpl
from prefbench_madpo.objective import Madpo
from prefbench_madpo.reward_margin import RewardMargin

__all__ = ["Madpo", "RewardMargin", "prefbench_columns", "prefbench_objectives"]


@hookimpl
def prefbench_objectives() -> list[type[Objective]]:
    """MADPO."""
    return [Madpo]


@hookimpl
def prefbench_columns() -> list[type[Column]]:
    """The reward model's margins."""
    return [RewardMargin]
