"""WPO: DPO in which pairs count by how likely the policy itself is to write them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Wpo(Objective):
    """Weighted preference optimisation: off-policy pairs are weighted as if the policy had sampled them.

    Per pair, with w_w and w_l the weights of chosen and rejected answer::

        w   = exp(1/|y| * sum over tokens t of (log pi(y_t) - log sum_v pi(v)^2))
        min(1, w_w * w_l) * (-log sigma(beta * margin))

    An answer's weight is 1 where its tokens are as likely as those that the policy samples; no gradient passes through the weights.
    """

    name = "wpo"
    source = "Zhou et al. 2024, arXiv 2406.11827, Eq. 2 with sampled alignment; wzhouad/WPO, scripts/run_wpo.py"
    deviations = (
        "The product of the weights ends at 1, as in the authors' code; clamped = false leaves it free, as use_weighting of TRL 1.x does."
    )
    wants = ("chosen_collision", "rejected_collision")
    beta: float = hyper(0.01, low=1e-6, doc="strength of the pull towards the reference")
    clamped: bool = hyper(True, doc="let no pair weigh more than 1")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        return self._weights(batch) * -logsigmoid(self.beta * batch.margin)

    def _weights(self, batch: PairBatch) -> torch.Tensor:
        chosen = (batch.policy_chosen - batch.statistics["chosen_collision"]) / batch.chosen_tokens
        rejected = (batch.policy_rejected - batch.statistics["rejected_collision"]) / batch.rejected_tokens
        log_weights = (chosen + rejected).detach()
        return torch.exp(log_weights.clamp(max=0.0) if self.clamped else log_weights)
