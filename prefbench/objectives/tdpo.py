"""Token-level DPO: the margin is corrected by how far the policy has moved from the reference along each answer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Tdpo1(Objective):
    """Token-level DPO, first form: Bradley-Terry on token-level advantages, which brings in both answers' sequential KL divergences.

    Per pair, with D_w and D_l the sums over response positions of KL(reference || policy) along chosen and rejected answer::

        -log sigma(beta * (margin - (D_l - D_w)))

    Gradient passes through both divergences.
    """

    name = "tdpo1"
    source = "Zeng et al. 2024, arXiv 2404.11999, TDPO1; Vance0124/Token-level-DPO, trainers.py"
    wants = ("chosen_kl", "rejected_kl")
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        lead = batch.statistics["rejected_kl"] - batch.statistics["chosen_kl"]
        return -logsigmoid(self.beta * (batch.margin - lead))


@dataclass
class Tdpo2(Objective):
    """Token-level DPO, second form: the divergences weigh alpha, and the chosen answer's is a constant.

    Per pair, with D_w and D_l the sums over response positions of KL(reference || policy) along chosen and rejected answer::

        -log sigma(beta * (margin - alpha * (D_l - stop_gradient(D_w))))

    In the first form a larger D_w lowers the loss, so that the policy is driven from the reference along chosen answers; here no
    gradient does that.
    """

    name = "tdpo2"
    source = "Zeng et al. 2024, arXiv 2404.11999, TDPO2; Vance0124/Token-level-DPO, trainers.py"
    wants = ("chosen_kl", "rejected_kl")
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    alpha: float = hyper(0.5, low=0.0, doc="weight of the two divergences")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        lead = batch.statistics["rejected_kl"] - batch.statistics["chosen_kl"].detach()
        return -logsigmoid(self.beta * (batch.margin - self.alpha * lead))
