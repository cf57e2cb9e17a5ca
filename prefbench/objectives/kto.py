"""KTO, which values each answer against a reference point: with mismatched answers as published, and the older paired form."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Kto(Objective):
    """Kahneman-Tversky optimisation: an answer's value is how far its reward lies above or below what the policy gives to anything.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio::

        1/2 * (desirable * (1 - sigma(beta * (r_w - z0))) + undesirable * (1 - sigma(beta * (z0 - r_l))))

    where z0 = max(0, mean over the batch of the log-ratio of answers to other prompts) estimates the KL divergence from the reference; no
    gradient passes through it.
    """

    name = "kto"
    source = "Ethayarajh et al. 2024, arXiv 2402.01306, the loss L_KTO and its estimate of z0; TRL, KTOTrainer"
    deviations = (
        "KTO needs no pairs; here both answers of each pair are its examples, and the 1/2 makes the mean over pairs the mean over answers. "
        "z0 averages over the chosen and the rejected answer of the pair before, where TRL takes the example before."
    )
    batch_coupled = True
    wants = ("mismatched_log_ratio",)
    beta: float = hyper(0.1, low=1e-6, doc="how soon the value saturates")
    desirable: float = hyper(1.0, low=0.0, doc="weight of the chosen answers, the paper's lambda_D")
    undesirable: float = hyper(1.0, low=0.0, doc="weight of the rejected answers, the paper's lambda_U")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), within (0, (desirable + undesirable) / 2)."""
        baseline = batch.statistics["mismatched_log_ratio"].mean().clamp(min=0.0)
        chosen_loss = torch.sigmoid(-self.beta * (batch.chosen_log_ratio - baseline))
        rejected_loss = torch.sigmoid(-self.beta * (baseline - batch.rejected_log_ratio))
        return 0.5 * (self.desirable * chosen_loss + self.undesirable * rejected_loss)


@dataclass
class KtoPaired(Objective):
    """KTO in its paired form: chosen answers are valued against the batch's rejected ones, rejected answers against its chosen ones.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio::

        1/2 * (1 - sigma(beta * (r_w - K_l)) + 1 - sigma(beta * (K_w - r_l)))

    where K_w = max(0, mean of r_w over the batch) and K_l = max(0, mean of r_l over the batch).
    """

    name = "kto-paired"
    source = "TRL 0.8, loss type kto_pair (gone since 0.9), after Eq. 7 of the HALOs report of Ethayarajh et al., later arXiv 2402.01306"
    deviations = (
        "The means pass gradient, as in that code; the paper stops it at its z0, as detached = true does. The means are over the "
        "optimiser's batch, not over each device's share."
    )
    batch_coupled = True
    beta: float = hyper(0.1, low=1e-6, doc="how soon the value saturates")
    detached: bool = hyper(False, doc="pass no gradient through the two means")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), within (0, 1)."""
        chosen, rejected = batch.chosen_log_ratio, batch.rejected_log_ratio
        chosen_loss = torch.sigmoid(-self.beta * (chosen - self._baseline(rejected)))
        rejected_loss = torch.sigmoid(-self.beta * (self._baseline(chosen) - rejected))
        return 0.5 * (chosen_loss + rejected_loss)

    def _baseline(self, log_ratios: torch.Tensor) -> torch.Tensor:
        mean = log_ratios.mean().clamp(min=0.0)
        return mean.detach() if self.detached else mean
