"""Losses that push each answer's reward to its own side, instead of the two apart: nca, bco-pair and sppo-hard."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Nca(Objective):
    """Noise contrastive alignment of a pair: the chosen reward rises, while neither reward may drift far up.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio::

        -log sigma(beta * r_w) - 1/2 * log sigma(-beta * r_w) - 1/2 * log sigma(-beta * r_l)

    As a function of r_w it is least where sigma(beta * r_w) = 2/3: the chosen answer's likelihood is held up as well as held back.
    """

    name = "nca"
    source = "Chen et al. 2024, arXiv 2402.05369, NCA for a pair, all the weight on the chosen answer; TRL, loss type nca_pair"
    beta: float = hyper(0.01, low=1e-6, doc="scale of the log-ratios inside the sigmoids")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        chosen, rejected = self.beta * batch.chosen_log_ratio, self.beta * batch.rejected_log_ratio
        return -logsigmoid(chosen) - 0.5 * (logsigmoid(-chosen) + logsigmoid(-rejected))


@dataclass
class BcoPair(Objective):
    """Binary classifier optimisation on pairs: chosen rewards above, rejected rewards below a threshold that follows the rewards' mean.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio::

        -log sigma(beta * r_w - d) - log sigma(-(beta * r_l - d))

    where d is the mean of beta * log-ratio over every answer trained on so far, the current batch included; no gradient passes through it.
    Before the first step d = 0.
    """

    name = "bco-pair"
    source = "Jung et al. 2024, arXiv 2404.04656 (reward shift); TRL 0.16, loss type bco_pair"
    deviations = (
        "d moves as in TRL 0.16, before the batch is used; TRL 1.x dropped it (d = 0). Every answer counts once, where TRL counts every "
        "batch once: the same for batches of one size. The paper's density ratio for chosen and rejected answers to different prompts is "
        "left out: here every prompt has both."
    )
    beta: float = hyper(0.01, low=1e-6, doc="scale of the log-ratios inside the sigmoids")
    reward_mean: float = field(init=False, default=0.0)
    rewards_seen: int = field(init=False, default=0)

    def update(self, batch: PairBatch) -> None:
        """Take this batch's rewards into their running mean."""
        rewards = self.beta * torch.cat([batch.chosen_log_ratio, batch.rejected_log_ratio])
        self.rewards_seen += len(rewards)
        self.reward_mean += (float(rewards.mean()) - self.reward_mean) * len(rewards) / self.rewards_seen

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        chosen = self.beta * batch.chosen_log_ratio - self.reward_mean
        rejected = self.beta * batch.rejected_log_ratio - self.reward_mean
        return -logsigmoid(chosen) - logsigmoid(-rejected)


@dataclass
class SppoHard(Objective):
    """Self-play preference optimisation with hard labels: both log-ratios are regressed to fixed targets of opposite sign.

    Per pair, with r_w and r_l the chosen and the rejected log-ratio::

        (r_w - 1 / (2 * beta))^2 + (r_l + 1 / (2 * beta))^2

    The targets lie 1 / (2 beta) nats from the reference, 500 at the default beta, and the loss starts at 1 / (2 beta^2) = 500,000: the learning
    rate is to be small.
    """

    name = "sppo-hard"
    source = "Wu et al. 2024, arXiv 2405.00675, Eq. 4.7, win probability 1 for the chosen and 0 for the rejected; TRL, loss type sppo_hard"
    deviations = (
        "The paper plays rounds on answers of its own, with win probabilities from a preference model; here one round on given pairs."
    )
    beta: float = hyper(1e-3, low=1e-6, doc="1 / the paper's eta: strength of the pull towards the reference")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,), square nats."""
        target = 0.5 / self.beta
        return (batch.chosen_log_ratio - target) ** 2 + (batch.rejected_log_ratio + target) ** 2
