"""beta-DPO: a DPO whose beta follows the batch, and which leaves out the pairs that are unlike the others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import PairBatch, hyper
from prefbench.objectives.gap_averages import GapAverages

SMALLEST_DEVIATION = 1e-12
"""Keeps weights apart from 0 / 0 when policy and reference are still the same model; far below any deviation of trained ones."""


@dataclass(frozen=True)
class Convention:
    """One published reading of beta-DPO: the gap's unit, whose mean moves beta, beta's floor, and the deviation to start from."""

    gap_has_beta: bool
    mean_over_kept: bool
    smallest_beta: float
    first_deviation: float


CONVENTIONS = {
    "official": Convention(gap_has_beta=False, mean_over_kept=True, smallest_beta=1e-3, first_deviation=0.0),
    "madpo": Convention(gap_has_beta=True, mean_over_kept=False, smallest_beta=-torch.inf, first_deviation=1.0),
    "gamma-po": Convention(gap_has_beta=True, mean_over_kept=True, smallest_beta=1e-3, first_deviation=1.0),
}
"""The readings by name: the authors' repository, and the two papers that compare with beta-DPO by code of their own."""


@dataclass
class BetaDpo(GapAverages):
    """beta-DPO: DPO with a beta of each batch's own, on the pairs whose margin is close to the usual one.

    Per pair, with M its gap, mu and s the moving average (momentum .9) of the batches' mean and standard deviation of M::

        kept: floor((1 - dropped) * B) pairs, drawn one by one without replacement with weights exp(-((M - mu) / s)^2 / 2)
        beta_b = max(beta * (1 + alpha * (mean of M - mu)), smallest beta)       no gradient
        B / kept * -log sigma(beta_b * margin)   of a kept pair,   0 of a dropped one

    so that the mean over the batch is the mean over the kept pairs. The averages move before they are used. Three readings were published::

        convention   M                mean of M over   smallest beta   mu and s start at
        official     margin           kept pairs       .001            0, 0
        madpo        beta * margin    all pairs        none            0, 1
        gamma-po     beta * margin    kept pairs       .001            0, 1
    """

    name = "beta-dpo"
    source = (
        "Wu et al. 2024, arXiv 2407.08639; official: junkangwu/beta-DPO, trainers.py; madpo: the baseline of arXiv 2510.05342, "
        "notebooks/beta DPO.ipynb; gamma-po: sunjie279/gammaPO, scripts/xpo_trainer.py"
    )
    deviations = (
        "Averages, draw and beta are those of the optimiser batch; official: of each micro-batch, and they move in evaluation too. "
        "At least one pair is kept, and a batch of one pair has deviation 0. madpo weights kept pairs by micro-batch; here they weigh the same. "
        "gamma-po's code draws the kept pairs for its beta only, trains on all, and moves its averages after use; here it drops and moves as "
        "the others do. The draw is the same distribution in another form, which no underflow of the weights can stop."
    )
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference before the batch moves it")
    alpha: float = hyper(0.6, low=0.0, doc="how far beta follows the batch's mean gap")
    dropped: float = hyper(0.2, low=0.0, high=0.99, doc="rho: the share of each batch that is left out")
    convention: str = hyper("official", choices=CONVENTIONS, doc="which published reading: official, madpo or gamma-po")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gap_deviation = CONVENTIONS[self.convention].first_deviation
        self.batch_beta = self.beta

    def gap(self, batch: PairBatch) -> torch.Tensor:
        """M: the margin, with beta in it where the convention says so, shape (B,)."""
        return self.beta * batch.margin if CONVENTIONS[self.convention].gap_has_beta else batch.margin

    def update(self, batch: PairBatch) -> None:
        """Move the averages; keep the step's beta for the log."""
        super().update(batch)
        gap = self.gap(batch).detach()
        self.batch_beta = float(self._beta(gap, self._kept(gap, batch.rng)))

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,): 0 for dropped ones, B / kept times their own for kept ones."""
        gap = self.gap(batch).detach()
        kept = self._kept(gap, batch.rng)
        weight = torch.zeros_like(gap)
        weight[kept] = len(gap) / len(kept)
        return -weight * logsigmoid(self._beta(gap, kept) * batch.margin)

    def diagnostics(self) -> dict[str, float]:
        """beta_b of the step."""
        return {"batch_beta": self.batch_beta}

    def _kept(self, gap: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Positions of the kept pairs: the largest of log weight plus Gumbel noise, which is the draw one by one without replacement."""
        log_weight = -0.5 * ((gap - self.gap_mean) / max(self.gap_deviation, SMALLEST_DEVIATION)) ** 2
        exponential = torch.empty(len(gap), dtype=gap.dtype).exponential_(generator=rng)  # on the CPU: the same draw on every device
        count = max(1, int(round(len(gap) * (1 - self.dropped), 9)))  # 10 * (1 - .8) is 1.9999999999999996, and means 2
        return torch.topk(log_weight - exponential.log().to(gap.device), count).indices

    def _beta(self, gap: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        convention = CONVENTIONS[self.convention]
        mean = gap[kept].mean() if convention.mean_over_kept else gap.mean()
        return (self.beta * (1 + self.alpha * (mean - self.gap_mean))).clamp(min=convention.smallest_beta)
