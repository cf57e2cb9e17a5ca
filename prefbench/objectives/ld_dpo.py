"""LD-DPO: DPO in which the part of an answer that the other one is too short for counts less."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class LdDpo(Objective):
    """Length-desensitised DPO: tokens of the longer answer behind the length of the shorter one count by alpha.

    Per pair, under policy and reference alike, with l the number of tokens of the shorter answer::

        log p_ld(y) = sum over t <= l of log p(y_t) + alpha * sum over t > l of log p(y_t)
        -log sigma(beta * (log-ratio_ld(chosen) - log-ratio_ld(rejected)))

    alpha = 1 is DPO; with alpha = 0 both answers end where the shorter one does.
    """

    name = "ld-dpo"
    source = "Liu et al. 2024, arXiv 2409.06411; ld_alpha of TRL's DPOTrainer"
    deviations = "The paper tunes alpha for each model; the default here is the middle of its range."
    wants = ("chosen_common_log_prob", "rejected_common_log_prob")
    needs = ("reference-common-margin",)
    beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
    alpha: float = hyper(0.5, low=0.0, high=1.0, doc="what a token counts that the other answer is too short for")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        policy = batch.statistics["chosen_common_log_prob"] - batch.statistics["rejected_common_log_prob"]
        common = policy - batch.columns["reference-common-margin"]
        return -logsigmoid(self.beta * (self.alpha * batch.margin + (1.0 - self.alpha) * common))
