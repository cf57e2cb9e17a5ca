"""The scheduler that trains on every pair it is offered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.api import Pool, Scheduler


@dataclass
class Uniform(Scheduler):
    """Every pair of every pool, in the pool's order: training without a scheduler. The pools are already shuffled."""

    name = "uniform"

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """The first ``size`` positions: all of them, since the ratio is 1."""
        return np.arange(size)
