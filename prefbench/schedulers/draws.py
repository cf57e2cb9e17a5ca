"""Counts and draws that several schedulers share."""

from __future__ import annotations

import numpy as np


def share_of(count: int, share: float) -> int:
    """How many a share of ``count`` is: rounded, at least one."""
    return max(1, min(count, round(share * count)))


def draw_without_replacement(log_weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """``size`` distinct positions drawn one after another, each with probability proportional to exp(log_weight) among those left; int64, (size,).

    Adding standard Gumbel noise to the log-weights and taking the largest draws from that distribution in one go, with no weight underflowing.
    """
    return np.argsort(-(log_weights + rng.gumbel(size=len(log_weights))), kind="stable")[:size]
