"""The four worked pairs with all that an objective may need or want: score gaps and the statistics of the pairs."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from prefbench.api import PairBatch
from prefbench.testing import worked_pairs

SCORE_GAPS = (2.0, 1.0, 0.5, 3.0)
COMMON_MARGINS = (1.0, -0.5, 0.3, 4.0)
STATISTICS = {
    "chosen_common_log_prob": (-10.0, -17.5, -9.5, -25.0),
    "rejected_common_log_prob": (-15.0, -18.0, -8.0, -36.0),
    "chosen_collision": (-9.0, -16.0, -8.0, -24.0),
    "rejected_collision": (-12.0, -19.0, -9.6, -33.0),
    "chosen_kl": (0.8, 0.3, 0.1, 1.2),
    "rejected_kl": (0.4, 0.9, 0.1, 2.5),
    "mismatched_log_ratio": (0.6, -0.2, 1.1, 0.3),
}


def told_pairs(*, statistics: dict[str, torch.Tensor] | None = None, **changes: Any) -> PairBatch:
    """The worked pairs with columns and statistics; ``changes`` replace fields, ``statistics`` single statistics."""
    known = {name: tensor(*values) for name, values in STATISTICS.items()} | (statistics or {})
    columns = {"score-gap": tensor(*SCORE_GAPS), "reference-common-margin": tensor(*COMMON_MARGINS)}
    pairs = dataclasses.replace(worked_pairs(), columns=columns, statistics=known)
    return dataclasses.replace(pairs, **changes)


def tensor(*values: float) -> torch.Tensor:
    """float64, as the core hands it to objectives."""
    return torch.tensor(values, dtype=torch.float64)
