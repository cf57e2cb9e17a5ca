"""The columns that come with prefbench, through the same hook as a stranger's."""

from __future__ import annotations

from collections.abc import Iterable
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
        return _margins(zip(*context.log_probs(), strict=True))


@dataclass
class ReferenceCommonMargin(Column):
    """The reference margin over as many of either answer's first tokens as the shorter one has, nats."""

    name = "reference-common-margin"
    source = "the public length of LD-DPO, arXiv 2409.06411"

    def compute(self, context: ColumnContext) -> np.ndarray:
        """The sum of log ref over the first tokens of chosen minus that of rejected, float64, shape (N,)."""
        pairs = zip(*context.log_probs(), strict=True)
        return _margins((chosen[: len(rejected)], rejected[: len(chosen)]) for chosen, rejected in pairs)


def _margins(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Of the log-probs of chosen and rejected tokens; sums in float64."""
    import numpy as np

    return np.array([chosen.sum(dtype=np.float64) - rejected.sum(dtype=np.float64) for chosen, rejected in pairs])


@hookimpl
def prefbench_columns() -> list[type[Column]]:
    """The built-in columns."""
    return [ReferenceMargin, ReferenceCommonMargin, Difficulty]
