"""DPO told by how much the chosen answer was scored higher: odpo asks for that lead, mmpo makes a soft label of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Odpo(Objective):
    """DPO with an offset: the more the chosen answer was scored above the rejected one, the larger the margin that is asked for.

    Per pair, with g the chosen answer's score minus the rejected one's, read from ``column``::

        -log sigma(beta * margin - alpha * log g)   where g > 0
        0                                           where g <= 0

    As g falls to 0 the formula itself falls to 0: an answer that is no better need not lead. Ties are that limit, and a pair whose scores
    contradict its label trains as little; the other pairs keep their weight.
    """

    name = "odpo"
    source = "Amini et al. 2024, arXiv 2402.10571, the offset alpha * log(score gap); rycolab/odpo, trainers.py"
    deviations = (
        "The authors' code gives NaN at gaps below 0; loss 0 there is ours. "
        "So are the column's name, and beta, which their code leaves open."
    )
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    alpha: float = hyper(1.0, low=0.0, doc="scale of the offset")
    column: str = hyper("score-gap", doc="the column with the score of the chosen minus that of the rejected answer")

    @property
    def needs(self) -> tuple[str, ...]:
        """The column of score gaps."""
        return (self.column,)

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        gap = batch.columns[self.column]
        # the branch that is not taken must be finite too, or its gradient makes NaN of the other's
        offset = self.alpha * torch.log(torch.where(gap > 0.0, gap, 1.0))
        return torch.where(gap > 0.0, -logsigmoid(self.beta * batch.margin - offset), 0.0)


@dataclass
class Mmpo(Objective):
    """Margin matching preference optimisation: the label is the Bradley-Terry probability of the two scores, instead of 1.

    Per pair, with g the chosen answer's score minus the rejected one's, read from ``column``, and p = sigma(scale * g)::

        -p * log sigma(beta * margin) - (1 - p) * log sigma(-beta * margin)

    Least where beta * margin = scale * g. A tie (g = 0) is pulled to the reference; at g < 0 the rejected answer is the better one.
    """

    name = "mmpo"
    source = "Kim et al. 2024, arXiv 2410.03145; kykim0/margin-matching-pref-opt, scripts/run_dpo.py (scale is its bt_beta)"
    deviations = (
        "scale and beta are the authors' for gemma-2b on UltraFeedback's scores; scores in other units need another scale. "
        "The column's name is ours."
    )
    monotone = False
    beta: float = hyper(0.01, low=1e-6, doc="strength of the pull towards the reference")
    scale: float = hyper(2.2, low=0.0, doc="log-odds of a preference per unit of score gap")
    column: str = hyper("score-gap", doc="the column with the score of the chosen minus that of the rejected answer")

    @property
    def needs(self) -> tuple[str, ...]:
        """The column of score gaps."""
        return (self.column,)

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        z, log_odds = self.beta * batch.margin, self.scale * batch.columns[self.column]
        return -torch.sigmoid(log_odds) * logsigmoid(z) - torch.sigmoid(-log_odds) * logsigmoid(-z)
