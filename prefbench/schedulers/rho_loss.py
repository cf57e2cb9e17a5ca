"""The scheduler that picks what is learnable and not yet learnt: RHO-LOSS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.api import Pool, Scheduler, hyper
from prefbench.schedulers.draws import draw_without_replacement


@dataclass
class RhoLoss(Scheduler):
    """The K pairs of each pool whose loss is largest against the loss that no training would take away.

    Per pair, with its present loss and its irreducible loss, its loss under a policy that did not see it::

        score = loss - irreducible loss

    At temperature 0 the K largest scores are picked; at a temperature T > 0 (the Boltzmann variant) K pairs are drawn one after another, each with
    probability proportional to exp(score / T) among those left. A noisy pair has a large loss of both kinds, and is passed over.
    """

    name = "rho-loss"
    source = "Mindermann et al. 2022, arXiv 2206.07137, Eq. 3, and OATML/RHO-Loss, src/curricula/selection_methods.py"
    deviations = (
        "The source takes the irreducible loss from a model that was trained on held-out data; ours is the column `difficulty`, the cross-fitted "
        "loss of the same objective, so that no pair is taken away from training. The source trains on a tenth of the pool; a half is ours, as for "
        "the other schedulers, so that it compares with `random-subset` as it stands. The source's Boltzmann variant (T = 0.25) draws with "
        "replacement, ours without. Equal scores keep the pool's order."
    )
    wants = ("loss",)
    ratio: float = hyper(0.5, low=0.0, high=1.0, doc="share of the pool that is trained on")
    stale: bool = hyper(False, doc="take a pair's loss as it was when the pair was last scored or trained on, and score the unseen alone")
    column: str = hyper("difficulty", doc="the irreducible loss of each pair")
    temperature: float = hyper(0.0, low=0.0, doc="T of the Boltzmann variant, in units of the loss; 0 picks the largest scores")

    @property
    def needs(self) -> tuple[str, ...]:
        """The column of irreducible losses."""
        return (self.column,)

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` distinct positions, largest score first, or in the order in which they were drawn."""
        score = pool.statistics["loss"] - pool.columns[self.column]
        if self.temperature > 0.0:
            return draw_without_replacement(score / self.temperature, size, rng)
        return np.argsort(-score, kind="stable")[:size]
