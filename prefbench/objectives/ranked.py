"""SLiC-HF and RRHF: a hinge on the two answers' own log-probs beside the likelihood of the chosen one, with no reference model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prefbench.api import Objective, PairBatch, hyper
from prefbench.objectives.simpo import mean_gap


@dataclass
class SlicHf(Objective):
    """SLiC-HF: the chosen answer's log-prob is to lead by a margin, and stays likely.

    Per pair, with p_w and p_l the summed log-prob of the chosen and the rejected answer::

        max(0, margin - p_w + p_l) - nll_weight * p_w
    """

    name = "slic-hf"
    source = "Zhao et al. 2023, arXiv 2305.10425, with the chosen answer as the regularisation's target: Meng et al. 2024, arXiv 2405.14734, table 3"
    deviations = "Meng et al. search .1, .5, 1 and 10 for lambda; the default is the lowest, which leaves the preference term most weight."
    reference_free = True
    margin: float = hyper(1.0, low=0.0, doc="delta: the lead in nats at which a pair stops training")
    nll_weight: float = hyper(0.1, low=0.0, doc="lambda: weight of the chosen answer's NLL, summed over its tokens")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        lead = batch.policy_chosen - batch.policy_rejected
        return torch.relu(self.margin - lead) - self.nll_weight * batch.policy_chosen


@dataclass
class Rrhf(Objective):
    """RRHF with two answers: the chosen one's log-prob per token is not to be below the rejected one's, and it stays likely.

    Per pair, with p_w and p_l the mean log-prob per token and s_w the summed one of the chosen answer::

        max(0, p_l - p_w) - nll_weight * s_w
    """

    name = "rrhf"
    source = "Yuan et al. 2023, arXiv 2304.05302, for two answers, as in Meng et al. 2024, arXiv 2405.14734, table 3"
    deviations = "The authors rank several answers at once; of a pair, their sum has one term."
    reference_free = True
    nll_weight: float = hyper(1.0, low=0.0, doc="lambda: weight of the chosen answer's NLL, summed over its tokens; the authors' is 1")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        return torch.relu(-mean_gap(batch)) - self.nll_weight * batch.policy_chosen
