"""Pairs to work losses out on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from prefbench.api import PairBatch


@dataclass(frozen=True)
class Worked:
    """Losses worked out by hand: of ``worked_pairs()`` unless other ``pairs`` are given, with these columns and statistics."""

    options: Mapping[str, Any]
    losses: Sequence[float]
    pairs: PairBatch | None = None
    columns: Mapping[str, Sequence[float]] = field(default_factory=dict)
    statistics: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def batch(self) -> PairBatch:
        """The pairs with their columns and statistics."""
        pairs = self.pairs or worked_pairs()
        return dataclasses.replace(
            pairs,
            columns={**pairs.columns, **{name: _tensor(*values) for name, values in self.columns.items()}},
            statistics={**pairs.statistics, **{name: _tensor(*values) for name, values in self.statistics.items()}},
        )


def worked_pairs(**changes: Any) -> PairBatch:
    """Four pairs, float64, with margins 1.5, -1.4, .2 and 5.5 and answers of 6/5, 10/9, 5/4 and 12/20 tokens; ``changes`` replace fields."""
    pairs = PairBatch(
        policy_chosen=_tensor(-12.0, -20.0, -9.5, -30.0),
        policy_rejected=_tensor(-15.0, -18.0, -9.0, -41.0),
        reference_chosen=_tensor(-13.0, -19.0, -9.9, -31.5),
        reference_rejected=_tensor(-14.5, -18.4, -9.2, -37.0),
        chosen_tokens=_tensor(6, 10, 5, 12),
        rejected_tokens=_tensor(5, 9, 4, 20),
        prompt_tokens=_tensor(7, 7, 3, 11),
    )
    return dataclasses.replace(pairs, **changes)


def _tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
