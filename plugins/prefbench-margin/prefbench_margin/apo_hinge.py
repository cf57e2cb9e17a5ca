"""APO-hinge-zero and APO-hinge-softplus: the anchored loss of APO-zero with a hinge, hard or soft, on either side instead of a sigmoid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper

SINGLE_BETA = (
    "Eq. 10 puts beta into r, so that it would stand twice in {equation}. Here r is the log-ratio and beta stands once, as the text after "
    "Eq. 11 (no gradient beyond margin / beta) and section 6.2 have it; double_beta = true is the other reading, in which beta^2 scales r."
)


@dataclass
class _AnchoredHinge(Objective):
    """What the two share: the options, and how far either answer is from its margin."""

    beta: float = hyper(0.1, low=1e-6, doc="scale of the log-ratios")
    margin: float = hyper(1.0, low=0.0, doc="scaled reward at which a side lets go")
    double_beta: bool = hyper(False, doc="read beta into r as well, as Eq. 10 has it: beta^2 scales the log-ratios")

    def _shortfalls(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled reward that the chosen and the rejected answer lack, shape (B,) each; negative where the margin is passed."""
        scale = self.beta**2 if self.double_beta else self.beta
        return self.margin - scale * batch.chosen_log_ratio, self.margin + scale * batch.rejected_log_ratio


@dataclass
class ApoHingeZero(_AnchoredHinge):
    """Pushes each chosen answer's reward above the margin and each rejected answer's below its negative, and lets go once it is there.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio in nats::

        max(0, margin - beta * r_w) + max(0, margin + beta * r_l)

    The two sides switch off on their own: the chosen one where beta * r_w reaches the margin, the rejected one where beta * r_l falls to
    -margin. With the defaults either is a move of 10 nats, so that most pairs stay where the gradient is constant.
    """

    name = "apo-hinge-zero"
    source = "Yao, Yuan and Chen 2025, arXiv 2508.08466, Eq. 11 (margin = 1, beta = .1)"
    deviations = SINGLE_BETA.format(equation="Eq. 11")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), at least 0; gradient 0 for a side at or beyond its margin."""
        chosen, rejected = self._shortfalls(batch)
        return torch.relu(chosen) + torch.relu(rejected)


@dataclass
class ApoHingeSoftplus(_AnchoredHinge):
    """APO-hinge-zero with its corners rounded: no side ever lets go outright.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio in nats::

        log(1 + exp(margin - beta * r_w)) + log(1 + exp(margin + beta * r_l))

    It lies above APO-hinge-zero everywhere, by at most log 2 on either side.
    """

    name = "apo-hinge-softplus"
    source = "Yao, Yuan and Chen 2025, arXiv 2508.08466, Eq. 12"
    deviations = (
        SINGLE_BETA.format(equation="Eq. 12")
        + " The paper does not state the margin and beta of this loss (a figure's label has beta = .3, and section 6.1 calls its beta too "
        "high): margin = 1 and beta = .1, as for apo-hinge-zero, are our choice."
    )

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), above 0."""
        chosen, rejected = self._shortfalls(batch)
        return -logsigmoid(-chosen) - logsigmoid(-rejected)
