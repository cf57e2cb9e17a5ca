"""DPO, with the label smoothing that turns it into conservative DPO."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Dpo(Objective):
    """Direct preference optimisation: the log-loss of a Bradley-Terry model whose reward is beta times the log-ratio.

    Per pair, with z = beta * margin and the label smoothing eps::

        -(1 - eps) * log sigma(z) - eps * log sigma(-z)

    With eps = 0 it is DPO; with eps > 0 conservative DPO, whose loss is least at z = log((1 - eps) / eps) instead of at infinity.
    """

    name = "dpo"
    source = "Rafailov et al. 2023, arXiv 2305.18290, Eq. 7; label smoothing: eric-mitchell/direct-preference-optimization, trainers.py"
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    label_smoothing: float = hyper(0.0, low=0.0, high=0.5, doc="eps: the share of labels taken to be flipped")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        z = self.beta * batch.margin
        if self.label_smoothing == 0.0:
            return -logsigmoid(z)
        return -(1.0 - self.label_smoothing) * logsigmoid(z) - self.label_smoothing * logsigmoid(-z)
