"""A rule that chooses which pairs are trained on, and the pool that it chooses from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefbench.api.component import Stateful

if TYPE_CHECKING:
    import numpy as np

POOL_STATISTICS = ("loss", "margin", "chosen_log_prob", "hidden_states", "padded_hidden_states")
"""What a scheduler may want of a pool; see ``Pool``."""


@dataclass(frozen=True)
class Pool:
    """The n pairs offered at one step. ``ids`` are row numbers of the training pairs, shape (n,).

    ``columns`` holds float64 arrays of shape (n,). ``statistics`` has what the scheduler ``wants``, under the policy as it is before the step,
    without dropout:

    - ``loss``: the objective's per-pair loss, float64, shape (n,).
    - ``margin``: the raw log-ratio gap, no beta in it, nats, float64, shape (n,).
    - ``chosen_log_prob``: summed, nats, float64, shape (n,).
    - ``hidden_states``: what each of the L blocks gives, averaged over the tokens of prompt and answer, float32, shape (n, 2, L, D): the chosen
      answer's, then the rejected's.
    - ``padded_hidden_states``: the same averaged over the padding of its micro-batch too.
    """

    ids: np.ndarray
    columns: Mapping[str, np.ndarray]
    statistics: Mapping[str, np.ndarray]
    progress: float

    def __len__(self) -> int:
        return len(self.ids)


class Scheduler(Stateful, ABC):
    """Chooses which of the n pairs of a pool are trained on."""

    ratio: float = 1.0
    """Share of the pool that is trained on: K = max(1, round(ratio * n))."""
    divisor: str = "trained"
    """What the summed loss of the trained pairs is divided by: ``trained``, their number K, or ``offered``, the pool's n, as some code does."""
    stale: bool = False
    """Whether losses, margins and log-probs may be those of the last time that a pair was scored, or trained on (where there is dropout, with it): a
    pool then costs a forward of the pairs that were never seen alone. Hidden states are always those of the present policy."""
    rehearsals: int = 0
    """Pools that it is offered, and observes, before the first step, while the policy stays as it is; they are drawn apart from training's."""

    @property
    def wants(self) -> tuple[str, ...]:
        """Names, of ``POOL_STATISTICS``, that it reads from ``pool.statistics``: each step then costs a gradient-free forward over the pool.
        A plain class attribute, ``wants = ("loss",)``, will do."""
        return ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the columns that it reads, from ``pool.columns`` and in ``prepare``. A plain class attribute will do."""
        return ()

    @property
    def reshuffled(self) -> bool:
        """True when the rows that ``prepare`` kept are shuffled anew every epoch, instead of being offered in its order.
        A plain class attribute will do."""
        return False

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        """Reorder or pre-select the ``size`` training pairs once, before training: distinct row numbers, or None to keep the shuffled epochs."""
        return None

    def next_pool(self, size: int, rng: np.random.Generator) -> np.ndarray | None:
        """Row numbers of the next pool, ``size`` distinct ones, from a scheduler that draws its pools itself; None to be offered the epochs'."""
        return None

    @abstractmethod
    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` distinct positions in the pool, each in [0, n)."""

    def observe(self, previous: Pool, chosen: np.ndarray, current: Pool) -> None:
        """Called one step later, before ``select``, because a scheduler's reward is how the next pool looks."""
