"""DPO with its logit shifted by something known of the answers: their lengths (r-dpo), or a share of the rejected reward (dpo-shift)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class RDpo(Objective):
    """Length-regularised DPO: the loss of a reward from which alpha times the answer's length was taken.

    Per pair, with |y_w| and |y_l| the tokens of chosen and rejected answer::

        -log sigma(beta * margin + alpha * (|y_w| - |y_l|))

    A pair whose chosen answer is the longer one is partly explained by its length, and so trains less.
    """

    name = "r-dpo"
    source = "Park et al. 2024, arXiv 2403.19159: the DPO loss of the reward r(x, y) - alpha |y|"
    deviations = (
        "The sign is that of the derivation, +; the repositories of alpha-DPO and gamma-PO carry the opposite one. alpha = .05 and beta = "
        ".1 are ours: the least and the largest of the values that SimPO's authors searched for this method."
    )
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    alpha: float = hyper(0.05, low=0.0, doc="penalty per token, in units of the scaled margin")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        return -logsigmoid(self.beta * batch.margin + self.alpha * (batch.chosen_tokens - batch.rejected_tokens))


@dataclass
class DpoShift(Objective):
    """DPO-Shift: the rejected reward counts less, so that the chosen answer's likelihood need not fall along with the rejected one's.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio::

        -log sigma(beta * (r_w - f * r_l))

    ``schedule`` says what f is: ``fixed``, or it goes linearly over training from ``f`` to 1 (``increasing``) or from 1 to ``f``
    (``decreasing``). With f = 1 it is DPO.
    """

    name = "dpo-shift"
    source = "Yang et al. 2025, arXiv 2502.07599; Meaquadddd/DPO-Shift, scripts/dposhift_trainer.py"
    deviations = (
        "The schedules end at 1, as in every run of the authors; their code leaves that end free. f = .95 is one of their settings."
    )
    beta: float = hyper(0.01, low=1e-6, doc="strength of the pull towards the reference")
    f: float = hyper(0.95, low=0.0, high=1.0, doc="the least factor on the rejected log-ratio")
    schedule: str = hyper("fixed", choices=("fixed", "increasing", "decreasing"), doc="how the factor moves over training")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        return -logsigmoid(self.beta * (batch.chosen_log_ratio - self._factor(batch.progress) * batch.rejected_log_ratio))

    def _factor(self, progress: float) -> float:
        towards_one = {"fixed": 0.0, "increasing": progress, "decreasing": 1.0 - progress}[self.schedule]
        return self.f + (1.0 - self.f) * towards_one
