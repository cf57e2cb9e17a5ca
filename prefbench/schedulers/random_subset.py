"""The scheduler that any cleverer one has to beat: a random part of each pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.api import Pool, Scheduler, hyper


@dataclass
class RandomSubset(Scheduler):
    """K of the n pairs of each pool, every subset equally likely: the fair control at equal backward pairs."""

    name = "random-subset"
    source = 'the row "DPO (50 %)" of arXiv 2506.17252, section 5.1'
    ratio: float = hyper(0.5, low=0.0, high=1.0, doc="share of the pool that is trained on")

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` distinct positions, ascending."""
        return np.sort(rng.choice(len(pool), size=size, replace=False))
