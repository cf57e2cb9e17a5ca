"""APO-hinge-zero: the anchored loss of APO-zero with a hinge on either side instead of a sigmoid."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class ApoHingeZero(Objective):
    """Pushes each chosen answer's reward above the margin and each rejected answer's below its negative, and lets go once it is there.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio in nats::

        max(0, margin - beta * r_w) + max(0, margin + beta * r_l)

    The two sides switch off on their own: the chosen one where beta * r_w reaches the margin, the rejected one where beta * r_l falls to
    -margin. With the defaults either is a move of 10 nats, so that most pairs stay where the gradient is constant.
    """

    name = "apo-hinge-zero"
    source = "Yao, Yuan and Chen 2025, arXiv 2508.08466, Eq. 11"
    deviations = (
        "Eq. 10 puts beta into r, so that it would stand twice in Eq. 11. Here r is the log-ratio and beta stands once, "
        "as the text after Eq. 11 (no gradient beyond margin / beta) and section 6.2 have it."
    )
    beta: float = hyper(0.1, low=1e-6, doc="scale of the log-ratios")
    margin: float = hyper(1.0, low=0.0, doc="scaled reward at which a side stops training")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), at least 0; gradient 0 for a side at or beyond its margin."""
        chosen = torch.relu(self.margin - self.beta * batch.chosen_log_ratio)
        rejected = torch.relu(self.margin + self.beta * batch.rejected_log_ratio)
        return chosen + rejected
