"""The scheduler that offers the pairs in the order of a column, from easy to hard or the other way round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prefbench.api import hyper
from prefbench.schedulers.draws import share_of
from prefbench.schedulers.uniform import Uniform


@dataclass
class Curriculum(Uniform):
    """Every pair in the order of a column, epoch after epoch, with no shuffling. A large value is taken to be an easy pair.

    The order of an epoch of N pairs::

        easy-first: by descending column;  hard-first: by ascending column;  ties keep the order of the data

    and then, for the epsilon-greedy curriculum, the pairs of round(epsilon * N) random places change places among themselves.

    Of a column in which a large value is a hard pair, such as ``difficulty``, ``hard-first`` gives the order from easy to hard.
    """

    name = "curriculum"
    source = "sorted: Curri-DPO, arXiv 2403.07230, by the gap of two scores; epsilon-greedy: arXiv 2502.09650, Figure 4"
    deviations = (
        "The sources sort by the gap between an annotator's or a reward model's two scores; the default column, the reference's own margin, "
        "is ours because every track has it. The random places are drawn once per run from the whole epoch and stay, and the pairs in them are a "
        "permutation, so that an epoch holds every pair once; the source fills that share of each batch."
    )
    column: str = hyper("reference-margin", doc="what the pairs are sorted by; large is easy")
    order: str = hyper("easy-first", choices=("easy-first", "hard-first"), doc="large values first, or small ones")
    epsilon: float = hyper(0.0, low=0.0, high=1.0, doc="share of the epoch's places that are filled at random")

    @property
    def needs(self) -> tuple[str, ...]:
        """The column that it sorts by."""
        return (self.column,)

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
        """All row numbers in the curriculum's order, int64, shape (size,)."""
        values = columns[self.column]
        rows = np.argsort(-values if self.order == "easy-first" else values, kind="stable")
        if self.epsilon > 0.0:
            places = rng.choice(size, size=share_of(size, self.epsilon), replace=False)
            rows[places] = rows[rng.permutation(places)]
        return rows
