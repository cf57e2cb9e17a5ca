"""AOT: the rewards' distributions are pulled apart by optimal transport, rank against rank, instead of pair by pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper

BATCH_AND_BETA = (
    "Ranks are taken within the optimiser's batch; TRL takes them within each device's share of it. beta = .01 is ours; TRL's is .1."
)


@dataclass
class Aot(Objective):
    """Alignment via optimal transport, paired: the policy's gaps are to dominate the reference's at every quantile of the batch.

    With u = log pi(chosen) - log pi(rejected), v the same under the reference, and u_(i), v_(i) their i-th smallest in the batch::

        d_i = u_(i) - v_(i)
        -(1 - eps) * log sigma(beta * d_i) - eps * log sigma(-beta * d_i)

    The loss of rank i stands at the pair whose u has that rank. With one pair, or when u and v have the same order, it is DPO.
    """

    name = "aot"
    source = "Melnyk et al. 2024, arXiv 2406.05882, paired AOT with the logistic loss; TRL, loss type aot"
    deviations = BATCH_AND_BETA
    batch_coupled = True
    beta: float = hyper(0.01, low=1e-6, doc="strength of the pull towards the reference")
    label_smoothing: float = hyper(0.0, low=0.0, high=0.5, doc="eps: the share of labels taken to be flipped")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        policy = batch.policy_chosen - batch.policy_rejected
        reference = batch.reference_chosen - batch.reference_rejected
        return _log_loss(self.beta * (policy - _rank_for_rank(reference, policy)), self.label_smoothing)


@dataclass
class AotUnpaired(Objective):
    """Alignment via optimal transport, unpaired: chosen log-ratios are to dominate rejected ones at every quantile of the batch.

    With r_w(i) and r_l(i) the i-th smallest chosen and rejected log-ratio of the batch::

        d_i = r_w(i) - r_l(i)
        -(1 - eps) * log sigma(beta * d_i) - eps * log sigma(-beta * d_i)

    The loss of rank i stands at the pair whose chosen log-ratio has that rank. With one pair it is DPO.
    """

    name = "aot-unpaired"
    source = "Melnyk et al. 2024, arXiv 2406.05882, unpaired AOT with the logistic loss; TRL, loss type aot_unpaired (aot_pair in 0.16)"
    deviations = BATCH_AND_BETA
    batch_coupled = True
    beta: float = hyper(0.01, low=1e-6, doc="strength of the pull towards the reference")
    label_smoothing: float = hyper(0.0, low=0.0, high=0.5, doc="eps: the share of labels taken to be flipped")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        chosen = batch.chosen_log_ratio
        return _log_loss(self.beta * (chosen - _rank_for_rank(batch.rejected_log_ratio, chosen)), self.label_smoothing)


def _log_loss(z: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    return -(1.0 - label_smoothing) * logsigmoid(z) - label_smoothing * logsigmoid(-z)


def _rank_for_rank(values: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """``values`` rearranged so that the i-th smallest stands where ``order`` has its i-th smallest, shape (B,)."""
    ranks = order.argsort(stable=True).argsort()
    return values.sort().values[ranks]
