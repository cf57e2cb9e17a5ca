"""The scheduler that draws its own pools from all pairs, those of large last known loss more often: online batch selection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from prefbench.api import Pool, Scheduler, hyper
from prefbench.schedulers.draws import draw_without_replacement, share_of


@dataclass
class OnlineBatch(Scheduler):
    """Loss-based online batch selection: all N pairs are ranked by their last known loss, and the probability of a pair falls with its rank.

    For the pair of rank i = 1..N, rank 1 the largest loss, before the others those never seen::

        P(i) proportional to 1 / exp(log(s) / N)^i,      s = pressure^(1 - progress) * final_pressure^progress

    so that the first rank is drawn about s times as often as the last. K = ratio * n pairs are drawn without replacement and trained on. The other
    n - K pairs of the pool are there to refresh their losses: of the highest ranks that were not drawn, those whose loss is oldest.
    """

    name = "online-batch"
    source = "Loshchilov and Hutter 2015, arXiv 1511.06343: the ranking, P(i) and the decay of the pressure"
    deviations = (
        "The source draws with replacement and recomputes the losses of the highest ranks in a pass of its own every so often; here the draws are "
        "without replacement, and a part of every pool is refreshed in the same forward as the pairs that are drawn. The default pressure (from 100 "
        "to 1), the share of the ranks that are refreshed and the random order of pairs of equal loss are ours. Progress is that of the step before."
    )
    wants = ("loss",)
    ratio: float = hyper(0.5, low=0.0, high=1.0, doc="share of the pool that is drawn by rank and trained on; the rest is refreshed")
    pressure: float = hyper(100.0, low=1.0, doc="s at the first step; 1 draws every pair alike")
    final_pressure: float = hyper(1.0, low=1.0, doc="s at the last step")
    refreshed: float = hyper(0.5, low=0.0, high=1.0, doc="share of the ranks, from the top, whose oldest losses are refreshed")
    losses: np.ndarray = field(init=False, repr=False)
    """The last known loss of each pair, float64, shape (N,); infinite where it was never seen."""
    scored_at: np.ndarray = field(init=False, repr=False)
    """The number of the pool in which that loss was seen, float64, shape (N,); 0 where it was never seen."""
    tie_break: np.ndarray = field(init=False, repr=False)
    """A random permutation of the pairs, in whose order those of equal loss are ranked."""
    pools: int = field(init=False, repr=False)
    """The pools that it was offered so far."""
    progress: float = field(init=False, repr=False)
    """How far training was at the last of them."""

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> None:
        """Learn how many pairs there are; none is left out."""
        self.losses, self.scored_at, self.tie_break = np.full(size, np.inf), np.zeros(size), rng.permutation(size)
        self.pools, self.progress = 0, 0.0

    def next_pool(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` distinct row numbers: first those to be trained on, in the order in which they were drawn, then those to be refreshed."""
        ranked = np.lexsort((self.tie_break, -self.losses))
        falling = -np.arange(1, len(ranked) + 1) * math.log(self.pressure_now()) / len(ranked)
        drawn = ranked[draw_without_replacement(falling, share_of(size, self.ratio), rng)]
        left = ranked[~np.isin(ranked, drawn)]
        return np.concatenate([drawn, self._oldest(left, size - len(drawn))])

    def _oldest(self, ranked: np.ndarray, count: int) -> np.ndarray:
        """The ``count`` rows of the highest ranks whose losses are oldest; equally old ones by rank."""
        top = ranked[: max(count, share_of(len(ranked), self.refreshed))]
        return top[np.argsort(self.scored_at[top], kind="stable")[:count]]

    def pressure_now(self) -> float:
        """s: exponentially from ``pressure`` at the first step to ``final_pressure`` at the last."""
        return float(self.pressure * (self.final_pressure / self.pressure) ** self.progress)

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """The first ``size`` positions, the drawn ones; the losses of the whole pool are kept in mind."""
        self.pools, self.progress = self.pools + 1, pool.progress
        self.losses = _replaced(self.losses, pool.ids, pool.statistics["loss"])
        self.scored_at = _replaced(self.scored_at, pool.ids, self.pools)
        return np.arange(size)

    def diagnostics(self) -> Mapping[str, float]:
        """The pressure, and the share of the pairs whose loss was never seen."""
        return {"pressure": self.pressure_now(), "unseen": float(np.mean(self.scored_at == 0))}


def _replaced(values: np.ndarray, rows: np.ndarray, new: np.ndarray | int) -> np.ndarray:
    """A copy with new values in these rows: a state that was handed out stays as it was."""
    copy = values.copy()
    copy[rows] = new
    return copy
