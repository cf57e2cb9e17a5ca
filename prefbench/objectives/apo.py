"""Anchored preference optimisation: apo-zero and apo-down, which tie each answer's reward to the reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class ApoZero(Objective):
    """APO-zero: chosen answers become likelier than under the reference, rejected ones less likely.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio::

        1 - sigma(beta * r_w) + sigma(beta * r_l)
    """

    name = "apo-zero"
    source = "D'Oosterlinck et al. 2024, arXiv 2408.06266, Eq. 7"
    deviations = "The paper's loss is less by the constant 1; TRL adds it, and the gradient is the same."
    beta: float = hyper(0.1, low=1e-6, doc="scale of the log-ratios inside the sigmoids")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), within (0, 2)."""
        return torch.sigmoid(-self.beta * batch.chosen_log_ratio) + torch.sigmoid(self.beta * batch.rejected_log_ratio)


@dataclass
class ApoDown(Objective):
    """APO-down: both answers become less likely than under the reference, the rejected one more so; for a model better than its data.

    Per pair, with r_w the chosen log-ratio::

        sigma(beta * r_w) + 1 - sigma(beta * margin)
    """

    name = "apo-down"
    source = "D'Oosterlinck et al. 2024, arXiv 2408.06266, Eq. 8"
    deviations = "The paper's loss is less by the constant 1; TRL adds it, and the gradient is the same."
    beta: float = hyper(0.1, low=1e-6, doc="scale of the log-ratios inside the sigmoids")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), within (0, 2)."""
        return torch.sigmoid(self.beta * batch.chosen_log_ratio) + torch.sigmoid(-self.beta * batch.margin)
