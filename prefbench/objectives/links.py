"""Other losses of the DPO margin alone: robust and exo, which doubt the labels, and discopop, which a language model found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Robust(Objective):
    """Robust DPO: an estimate of the DPO loss under true labels that stays unbiased when a share eps of them was flipped.

    Per pair, with z = beta * margin::

        (-(1 - eps) * log sigma(z) + eps * log sigma(-z)) / (1 - 2 * eps)

    With eps = 0 it is DPO. Unlike conservative DPO it subtracts the flipped label's loss, and so falls without end as the margin grows.
    """

    name = "robust"
    source = "Ray Chowdhury et al. 2024, arXiv 2403.00409, the loss rDPO; TRL, loss type robust"
    deviations = (
        "eps ends at .49, where the paper has < .5: the divisor 1 - 2 eps must not vanish. beta = .1 is ours, the usual one of DPO; TRL's index of "
        "papers gives eps = .1, as here, and beta = .01 as the paper's."
    )
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    label_smoothing: float = hyper(0.1, low=0.0, high=0.49, doc="eps: the share of labels taken to be flipped")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,); negative at large margins."""
        z = self.beta * batch.margin
        kept, flipped = -logsigmoid(z), -logsigmoid(-z)
        return ((1.0 - self.label_smoothing) * kept - self.label_smoothing * flipped) / (1.0 - 2.0 * self.label_smoothing)


@dataclass
class Exo(Objective):
    """EXO for pairs: the reverse KL divergence from the policy's preference to the smoothed label.

    Per pair, with q = sigma(beta * margin)::

        q * (log q - log(1 - eps)) + (1 - q) * (log(1 - q) - log eps)

    Least, at 0, where q = 1 - eps. A pair that is badly wrong hardly trains: the gradient vanishes as q goes to 0.
    """

    name = "exo"
    source = "Ji et al. 2024, arXiv 2402.00856, Eq. 16 (EXO-pref with two answers); TRL, loss type exo_pair"
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    label_smoothing: float = hyper(1e-3, low=1e-9, high=0.5, doc="eps: the share of labels taken to be flipped; above 0")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), within [0, -log eps]."""
        z = self.beta * batch.margin
        agrees = torch.sigmoid(z) * (logsigmoid(z) - math.log1p(-self.label_smoothing))
        return agrees + torch.sigmoid(-z) * (logsigmoid(-z) - math.log(self.label_smoothing))


@dataclass
class DiscoPop(Objective):
    """DiscoPOP, the log-ratio modulated loss: logistic where the policy is wrong, exponential where it is right, blended by a steep sigmoid.

    Per pair, with z = beta * margin and m = sigma(z / tau)::

        (1 - m) * (-log sigma(z)) + m * exp(-z)

    It is not convex: around z = 0 the blend moves from log 2 to 1 faster than either part falls, and the loss rises with the margin.
    """

    name = "discopop"
    source = "Lu et al. 2024, arXiv 2406.08414, Eq. 5; TRL, loss type discopop"
    deviations = "tau ends at 1, beyond which the exponential part has no bound on wrong pairs; the paper has .05."
    monotone = False
    beta: float = hyper(0.05, low=1e-6, doc="strength of the pull towards the reference")
    tau: float = hyper(0.05, low=1e-3, high=1.0, doc="width of the blend between the two parts")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        z = self.beta * batch.margin
        logistic = torch.sigmoid(-z / self.tau) * -logsigmoid(z)
        # exp(-z) alone overflows where its share underflows: their product is taken in the exponent
        exponential = torch.exp(logsigmoid(z / self.tau) - z)
        return logistic + exponential
