"""The hinge loss on the DPO margin."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Hinge(Objective):
    """Hinge loss: a pair stops training once beta times its margin reaches the target.

    Per pair::

        max(0, target - beta * margin)
    """

    name = "hinge"
    source = (
        "SLiC-HF, arXiv 2305.10425, with the reference's log-ratios as in RSO, arXiv 2309.06657; written out in arXiv 2508.08466, Eq. 3"
    )
    deviations = "The target is 1, TRL's choice; arXiv 2508.08466 leaves it free."
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    target: float = hyper(1.0, low=0.0, doc="scaled margin at which a pair stops training")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,); gradient 0 at and beyond the target."""
        return torch.relu(self.target - self.beta * batch.margin)
