"""The scheduler that keeps one end, or the middle, of a column before training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prefbench.api import hyper
from prefbench.schedulers.draws import share_of
from prefbench.schedulers.uniform import Uniform


@dataclass
class MarginFilter(Uniform):
    """Trains on a share of the pairs, chosen once by a column, in shuffled epochs.

    Of N pairs in ascending order of the column, ties in the order of the data, k = round(share * N) are kept::

        high: the last k;  low: the first k;  middle: the k from place (N - k) // 2 on
    """

    name = "margin-filter"
    source = (
        "the filters that arXiv 2502.09650, Table 1, compares with: the top half by a reward model's margin, the middle half by perplexity"
    )
    deviations = (
        "The default column, the reference's own margin, is ours because every track has it; the source's margin is a reward model's. "
        "`low` has no row in the source: it is the control that keeps what `high` throws away."
    )
    reshuffled = True
    column: str = hyper("reference-margin", doc="what the pairs are filtered by")
    keep: str = hyper("high", choices=("high", "low", "middle"), doc="which part of the column is trained on")
    share: float = hyper(0.5, low=0.01, high=1.0, doc="share of the pairs that is kept")

    @property
    def needs(self) -> tuple[str, ...]:
        """The column that it filters by."""
        return (self.column,)

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
        """The kept row numbers, ascending, int64."""
        ascending = np.argsort(columns[self.column], kind="stable")
        kept = share_of(size, self.share)
        start = {"low": 0, "middle": (size - kept) // 2, "high": size - kept}[self.keep]
        return np.sort(ascending[start : start + kept])
