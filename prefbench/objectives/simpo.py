"""SimPO: length-normalised log-probs and a target margin, with no reference model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class SimPo(Objective):
    """Simple preference optimisation: the reward is the mean log-prob per token, and the chosen answer is to lead by a margin.

    Per pair, with g the chosen answer's mean log-prob per token minus the rejected answer's::

        -log sigma(beta * g - gamma)
    """

    name = "simpo"
    source = "Meng et al. 2024, arXiv 2405.14734, Eq. 6"
    deviations = (
        "gamma is absolute, as in the equation; the authors' scripts take the ratio gamma / beta, and .5 here is their .25 at beta 2."
    )
    reference_free = True
    beta: float = hyper(2.0, low=1e-6, doc="scale of the mean log-prob gap")
    gamma: float = hyper(0.5, low=0.0, doc="the lead that the chosen answer is to have, after scaling")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        gap = batch.policy_chosen / batch.chosen_tokens - batch.policy_rejected / batch.rejected_tokens
        return -logsigmoid(self.beta * gap - self.gamma)
