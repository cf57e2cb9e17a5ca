"""AMS, the adaptive margin-sigmoid: DPO's log-loss with a margin taken off, so that pairs which are won by enough stop training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch.nn.functional import logsigmoid, softplus

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Ams(Objective):
    """Conservative DPO whose two log-losses count only as far as they exceed delta.

    Per pair, with z = beta * margin::

        (1 - epsilon) * max(0, -log sigma(z) - delta) + epsilon * max(0, -log sigma(-z) - delta)

    The first term lets go at z = -log(e^delta - 1), which is 1 for the default delta. With epsilon = 0 the gradient beyond is exactly 0; with
    0 < epsilon < sigma(-z) there, z is driven back to that point, so that it caps the margin. delta = 0 is conservative DPO.
    """

    name = "ams"
    source = (
        "Yao, Yuan and Chen 2025, arXiv 2508.08466, section 4.1 (margin-sigma); linear delta and softplus: its future work, section 6.4.4"
    )
    deviations = (
        "The paper states neither delta, epsilon nor beta for this loss, and no code of it is public. Ours: delta = .3133, which lets go at "
        "z = 1 as a hinge of margin 1 does, epsilon = .1 and beta = .1. Nothing in the formula adapts: delta is a constant unless "
        'delta_schedule = "linear", where the ramp over half of the training (the paper speaks of one or two epochs of its 3) is ours, as is the '
        "temperature of the softplus. delta is bounded below log 2 = .693, the loss of an untrained policy: from there on nothing would train."
    )
    delta: float = hyper(0.3133, low=0.0, high=0.69, doc="nats taken off either log-loss; below log 2, or no pair would train at the start")
    epsilon: float = hyper(0.1, low=0.0, high=0.5, doc="label smoothing: weight of the flipped pair's term")
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    delta_schedule: str = hyper("constant", choices=("constant", "linear"), doc="linear: delta grows from 0 over the ramp")
    ramp: float = hyper(0.5, low=0.01, high=1.0, doc="share of the training over which a linear delta grows")
    cut: str = hyper(
        "relu", choices=("relu", "softplus"), doc="softplus: t log(1 + e^(x / t)) stands for max(0, x), and no pair stops outright"
    )
    temperature: float = hyper(0.1, low=1e-3, doc="t of the softplus, in nats")
    _won: float = field(init=False, repr=False, default=math.nan)

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), at least 0; gradient 0 for a term whose log-loss is at most delta, unless the cut is soft."""
        z = self.beta * batch.margin
        delta = self._delta_at(batch.progress)
        as_labelled = self._excess(-logsigmoid(z) - delta)
        flipped = self._excess(-logsigmoid(-z) - delta)
        return (1.0 - self.epsilon) * as_labelled + self.epsilon * flipped

    def update(self, batch: PairBatch) -> None:
        """Count the pairs that are won by enough: with epsilon > 0 their gradient is not 0, but pulls back."""
        won = -logsigmoid(self.beta * batch.margin) <= self._delta_at(batch.progress)
        self._won = won.double().mean().item()

    def diagnostics(self) -> Mapping[str, float]:
        """``won``: the share of pairs whose log-loss is at most delta; NaN before the first step."""
        return {"won": self._won}

    def _delta_at(self, progress: float) -> float:
        return self.delta if self.delta_schedule == "constant" else self.delta * min(1.0, progress / self.ramp)

    def _excess(self, loss: torch.Tensor) -> torch.Tensor:
        return torch.relu(loss) if self.cut == "relu" else softplus(loss, beta=1.0 / self.temperature)
