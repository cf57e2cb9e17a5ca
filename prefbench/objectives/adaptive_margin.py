"""AMaPO and alpha-DPO: SimPO whose target margin is each pair's own, set by where the pair stands among others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper
from prefbench.objectives.gap_averages import GapAverages, deviation
from prefbench.objectives.simpo import mean_gap

SMALLEST_DEVIATION = 1e-6
"""Gaps that differ by less, in nats per token, differ by rounding: nothing is normalised by their deviation."""
LARGEST_EXPONENT = 50.0
"""exp of it is beyond any gap, so that a larger exponent would change the loss but not its gradient, until it overflows."""


@dataclass
class AMaPo(Objective):
    """AMaPO: only pairs that lag behind their batch get a target margin, at least beta and the larger the further behind.

    Per pair, with g the chosen answer's mean log-prob per token minus the rejected answer's, and mean and std over the batch::

        m = beta * exp((mean - g) / std * mean)   where g < mean, else 0;   no gradient
        -log sigma(beta * g - m)

    So it is while the mean is positive; while it is negative, as it may be early in training, the margin is below beta and shrinks instead.
    """

    name = "amapo"
    source = "arXiv 2511.09385; Shiroha-Offical/AMaPO, scripts/amapo_trainer.py"
    deviations = (
        "Mean and deviation are those of the optimiser batch (the code's: the micro-batch of every process). The exponent is at most 50. "
        "Gaps that differ by rounding alone (deviation below 1e-6) get no margin. Left out are the code's label smoothing, off by default, and its "
        "NLL term, which it works out and then does not add. beta = 2.5 is ours, between the 2 and the 3 of the authors' configurations."
    )
    batch_coupled = True
    reference_free = True
    beta: float = hyper(2.5, low=1e-6, doc="scale of the mean log-prob gap and of the margin")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        gap = mean_gap(batch)
        return -logsigmoid(self.beta * (gap - lag_margin(gap.detach())))


def lag_margin(gap: torch.Tensor) -> torch.Tensor:
    """exp((mean - gap) / std * mean) of the gaps below their mean and 0 of the others, shape (B,)."""
    mean, spread = gap.mean(), deviation(gap)
    if spread < SMALLEST_DEVIATION:
        return torch.zeros_like(gap)
    exponent = (mean - gap) / spread * mean
    return torch.where(gap < mean, exponent.clamp(max=LARGEST_EXPONENT).exp(), 0.0)


@dataclass
class AlphaDpo(GapAverages):
    """alpha-DPO: SimPO that asks for a larger lead where the policy has already moved further from the reference than it does on average.

    Per pair, with g the chosen answer's mean log-prob per token minus the rejected answer's, and d the same of the log-ratios::

        -log sigma(beta * (g - alpha * (d - mean) / std) - gamma)

    No gradient flows through (d - mean) / std. mean and std are moving averages of the batches' own, starting at 0: before each use, a tenth
    of the current batch's is mixed in.
    """

    name = "alpha-dpo"
    source = "Wu et al. 2024, arXiv 2410.10148; junkangwu/alpha-DPO, scripts/dpo_trainer.py (the defaults are its Llama-3 setting)"
    deviations = (
        "gamma is absolute, as in simpo; the code takes the ratio gamma / beta, and 1.5 here is its .6 at beta 2.5. While std is below 1e-6, "
        "as before the first step, the alpha term is left out; the code divides by zero. Mean and std are those of the optimiser batch, and a "
        "batch of one pair has std 0."
    )
    beta: float = hyper(2.5, low=1e-6, doc="scale of the mean log-prob gap")
    gamma: float = hyper(1.5, low=0.0, doc="the lead that the chosen answer is to have, after scaling")
    alpha: float = hyper(0.2, low=0.0, doc="how much of the normalised log-ratio gap is added to the lead, before scaling")

    def gap(self, batch: PairBatch) -> torch.Tensor:
        """The chosen log-ratio per token minus the rejected one, shape (B,)."""
        return batch.chosen_log_ratio / batch.chosen_tokens - batch.rejected_log_ratio / batch.rejected_tokens

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        return -logsigmoid(self.beta * (mean_gap(batch) - self.alpha * self._normalised_gap(batch)) - self.gamma)

    def _normalised_gap(self, batch: PairBatch) -> torch.Tensor:
        gap = self.gap(batch).detach()
        if self.gap_deviation < SMALLEST_DEVIATION:
            return torch.zeros_like(gap)
        return (gap - self.gap_mean) / self.gap_deviation
