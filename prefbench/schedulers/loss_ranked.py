"""The scheduler that ranks each pool by its present loss: hard pairs first, or easy ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.api import Pool, Scheduler, hyper


@dataclass
class LossRanked(Scheduler):
    """The K pairs of each pool with the highest present loss (hard mining), or with the lowest (small-loss selection, against label noise).

    For every loss that falls as the margin grows, ``high`` is the same as taking the smallest margins.
    """

    name = "loss-ranked"
    source = "high: the top-loss baseline of OATML/RHO-Loss; low: small-loss selection as in co-teaching"
    deviations = "Ranked within each pool by the objective's own loss, with no holdout model."
    wants = ("loss",)
    order: str = hyper("high", choices=("high", "low"), doc="which end of the ranking is trained on")
    ratio: float = hyper(0.5, low=0.0, high=1.0, doc="share of the pool that is trained on")
    stale: bool = hyper(False, doc="take a pair's loss as it was when the pair was last scored or trained on, and score the unseen alone")

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` distinct positions in rank order; equal losses keep the pool's order."""
        loss = pool.statistics["loss"]
        return np.argsort(-loss if self.order == "high" else loss, kind="stable")[:size]
