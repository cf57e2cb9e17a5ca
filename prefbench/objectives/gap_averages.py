"""What a loss keeps of the batches it has seen: the moving mean and deviation of the gap between chosen and rejected."""

from __future__ import annotations

from abc import abstractmethod

import torch

from prefbench.api import Objective, PairBatch

MOMENTUM = 0.9
"""Share of the old average in the new one, in every source that keeps one."""


class GapAverages(Objective):
    """An objective whose state is the moving mean and standard deviation of its pairs' gaps; both start at 0 unless told otherwise."""

    batch_coupled = True

    def __post_init__(self) -> None:
        self.gap_mean = 0.0
        self.gap_deviation = 0.0

    @abstractmethod
    def gap(self, batch: PairBatch) -> torch.Tensor:
        """What is averaged: one number per pair, shape (B,)."""

    def update(self, batch: PairBatch) -> None:
        """Move both averages by a tenth towards the batch's own."""
        gap = self.gap(batch).detach()
        self.gap_mean = MOMENTUM * self.gap_mean + (1 - MOMENTUM) * float(gap.mean())
        self.gap_deviation = MOMENTUM * self.gap_deviation + (1 - MOMENTUM) * float(deviation(gap))


def deviation(values: torch.Tensor) -> torch.Tensor:
    """The standard deviation with n - 1 below, a scalar; 0 for a single value, of which torch makes NaN."""
    return values.std() if len(values) > 1 else values.new_zeros(())
