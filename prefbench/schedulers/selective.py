"""The scheduler that leaves out the hard pairs before training: Selective DPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prefbench.api import hyper
from prefbench.schedulers.draws import share_of
from prefbench.schedulers.uniform import Uniform


@dataclass
class Selective(Uniform):
    """Selective DPO: trains on the easiest pairs only, from easy to hard.

    Of N pairs, with the difficulty d of each::

        the round(share * N) pairs of smallest d, by ascending d;  ties keep the order of the data

    The column ``difficulty`` is the loss of a pair under policies that were trained without it. Flipped and ambiguous pairs have large ones.
    """

    name = "selective"
    source = "Gao et al. 2025, arXiv 2502.09650, and glorgao/SelectiveDPO"
    deviations = (
        "The paper keeps a half (60 % for one model) and trains one epoch over what is left; here the track fixes the steps, and the kept pairs are "
        "gone through as often as they last. `shuffled`, the paper's ablation, shuffles them anew every epoch; the paper finds it about as good."
    )
    column: str = hyper("difficulty", doc="how hard each pair is; small is easy")
    share: float = hyper(0.5, low=0.01, high=1.0, doc="share of the pairs that is kept, the easiest")
    order: str = hyper("sorted", choices=("sorted", "shuffled"), doc="from easy to hard in every epoch, or shuffled")

    @property
    def needs(self) -> tuple[str, ...]:
        """The column of difficulties."""
        return (self.column,)

    @property
    def reshuffled(self) -> bool:
        """Whether the kept pairs are shuffled."""
        return self.order == "shuffled"

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
        """The kept row numbers from easy to hard, int64."""
        return np.argsort(columns[self.column], kind="stable")[: share_of(size, self.share)]
