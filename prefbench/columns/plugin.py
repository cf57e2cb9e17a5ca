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


@hookimpl
def prefbench_columns() -> list[type[Column]]:
    """The built-in columns."""
    return [ReferenceMargin, Difficulty]
