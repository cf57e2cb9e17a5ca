"""SimPO and AlphaPO: length-normalised log-probs and a target margin, with no reference model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


def mean_log_probs(batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """The policy's log-prob per token of the chosen and of the rejected answer, each of shape (B,)."""
    return batch.policy_chosen / batch.chosen_tokens, batch.policy_rejected / batch.rejected_tokens


def mean_gap(batch: PairBatch) -> torch.Tensor:
    """The chosen answer's log-prob per token minus the rejected answer's, shape (B,)."""
    chosen, rejected = mean_log_probs(batch)
    return chosen - rejected


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
        return -logsigmoid(self.beta * mean_gap(batch) - self.gamma)


@dataclass
class AlphaPo(Objective):
    """AlphaPO: SimPO with a reward whose shape alpha bends, so that answers of low probability move it more (alpha > 0) or less (alpha < 0).

    Per pair, with p_w and p_l the mean log-prob per token of the chosen and the rejected answer::

        r(p) = (1 - exp(-alpha * p)) / alpha
        -log sigma(beta * (r(p_w) - r(p_l)) - gamma)

    At alpha = 0, where r(p) = p, it is SimPO.
    """

    name = "alphapo"
    source = "Gupta et al. 2025, arXiv 2501.03884; the form of TRL's CPOTrainer, loss_type='simpo' with alpha"
    deviations = (
        "gamma is absolute, as in simpo. TRL raises exp(p) to the power -alpha, which is lost once exp(p) rounds to 0; here the two "
        "exponents are one, and alpha close to 0 costs no digits. alpha = .25 is the paper's for Mistral-Instruct, as "
        "TRL's index of papers has it; simpo's beta and gamma beside it are our choice."
    )
    reference_free = True
    # exp(500) is the last round number whose losses stay finite for answers of a single token at alpha = +-1.
    domain = 500.0
    beta: float = hyper(2.0, low=1e-6, doc="scale of the reward gap")
    gamma: float = hyper(0.5, low=0.0, doc="the lead that the chosen answer is to have, after scaling")
    alpha: float = hyper(0.25, low=-1.0, high=1.0, doc="bend of the reward; 0 is simpo")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        chosen, rejected = (self._reward(log_prob) for log_prob in mean_log_probs(batch))
        return -logsigmoid(self.beta * (chosen - rejected) - self.gamma)

    def _reward(self, log_prob: torch.Tensor) -> torch.Tensor:
        if self.alpha == 0.0:
            return log_prob
        return -torch.expm1(-self.alpha * log_prob) / self.alpha
