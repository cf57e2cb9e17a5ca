"""The columns that come with prefbench, through the same hook as a stranger's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefbench.api import Column, ColumnContext, hookimpl
from prefbench.columns.difficulty import Difficulty

if TYPE_CHECKING:
    import numpy as np


@dataclass
class ReferenceMargin(Column):
    """How much more probable the reference finds the chosen answer than the rejected: summed log-probs, nats. Large is easy."""

    name = "reference-margin"
    source = "the reference's own ordering of a pair, as in preference-accuracy studies of reference models"

    def compute(self, context: ColumnContext) -> np.ndarray:
        """log ref(chosen) - log ref(rejected), float64, shape (N,)."""
        import numpy as np

        chosen, rejected = context.log_probs()
        return np.array([c.sum(dtype=np.float64) - r.sum(dtype=np.float64) for c, r in zip(chosen, rejected, strict=True)])


@dataclass
class ReferenceCommonMargin(Column):
    """The reference margin over as many of either answer's first tokens as the shorter one has, nats."""

    name = "reference-common-margin"
    source = "the public length of LD-DPO, arXiv 2409.06411"

    def compute(self, context: ColumnContext) -> np.ndarray:
        """The sum of log ref over the first tokens of chosen minus that of rejected, float64, shape (N,)."""
        import numpy as np

        margins = []
        for chosen, rejected in zip(*context.log_probs(), strict=True):
            common = min(len(chosen), len(rejected))
            margins.append(chosen[:common].sum(dtype=np.float64) - rejected[:common].sum(dtype=np.float64))
        return np.array(margins)


@hookimpl
def prefbench_columns() -> list[type[Column]]:
    """The built-in columns."""
    return [ReferenceMargin, ReferenceCommonMargin, Difficulty]
