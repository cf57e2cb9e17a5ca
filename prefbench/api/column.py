"""A number per pair, and what it may be computed from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from prefbench.api.component import Component
from prefbench.api.pairs import Pair

if TYPE_CHECKING:
    import numpy as np


class TrainedPolicy(Protocol):
    """A policy that was trained for a column's sake, and its view of the pairs."""

    def losses(self, rows: Sequence[int]) -> np.ndarray:
        """The objective's loss of each of these pairs, float64, shape (len(rows),)."""
        ...

    def margins(self, rows: Sequence[int]) -> np.ndarray:
        """The raw log-ratio gap of each of these pairs, nats, float64, shape (len(rows),)."""
        ...


class ColumnContext(Protocol):
    """What a column may use: the N pairs, their token ids, and the model that training starts from.

    The pairs stand in an order that their texts alone decide, so that a column does not depend on the order of a seed.
    """

    @property
    def pairs(self) -> Sequence[Pair]:
        """The N pairs, in the order of the values that are due."""
        ...

    @property
    def prompt_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the N prompts."""
        ...

    @property
    def chosen_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the N chosen answers, end-of-sequence token included."""
        ...

    @property
    def rejected_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the N rejected answers, end-of-sequence token included."""
        ...

    def log_probs(self) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
        """Per-token log-probs (nats, float32) of every chosen and every rejected answer under the model that training starts from."""
        ...

    def fresh_model(self) -> Any:
        """A copy of the model that training starts from, a causal LM of transformers in float32 on its device, to change at will."""
        ...

    def train(self, rows: Sequence[int], epochs: float, seed: int) -> TrainedPolicy:
        """A policy trained on these pairs by the track's rules, with the objective and the learning rate of the row of the board that the
        column is computed for; its steps are as many as the epochs need. For columns that say ``uses_objective``."""
        ...

    def note(self, **facts: float) -> None:
        """Keep numbers about the column, such as an accuracy, in the record of every cell that uses it."""
        ...

    def report(self, message: str) -> None:
        """Say what is going on; a column that computes for long says something now and then."""
        ...


class Column(Component, ABC):
    """A number per pair, computed once before training, cached by content and shared by every cell that needs it."""

    uses_objective: ClassVar[bool] = False
    """True when it trains policies with the objective of the cell that needs it: cells then share it only where their objectives are the same."""

    @abstractmethod
    def compute(self, context: ColumnContext) -> np.ndarray:
        """One finite float64 per pair, shape (N,). Random draws come from generators of its own, seeded by options or by ``pair.id``."""
