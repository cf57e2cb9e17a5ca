"""CPO and ORPO: a preference term beside the likelihood of the chosen answer, with no reference model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper
from prefbench.objectives.simpo import mean_log_probs

LARGEST_MEAN_LOG_PROB = -1e-6
"""An answer whose probability rounds to 1 has no odds: ORPO takes its mean log-prob to be this, in nats."""


@dataclass
class Cpo(Objective):
    """Contrastive preference optimisation: DPO without a reference, held in place by the likelihood of the chosen answer.

    Per pair, with p_w and p_l the summed log-prob of the chosen and the rejected answer and n_w the chosen answer's tokens::

        -log sigma(beta * (p_w - p_l)) - nll_weight * p_w / n_w
    """

    name = "cpo"
    source = "Xu et al. 2024, arXiv 2401.08417, Eq. 3 with its NLL term; the NLL per token as in TRL's CPOTrainer"
    deviations = (
        "The NLL is the mean over each answer's own tokens. TRL averages it over the tokens of the whole batch, where a long answer "
        "counts for more; the two are equal when the chosen answers of a batch are of one length."
    )
    reference_free = True
    beta: float = hyper(0.1, low=1e-6, doc="scale of the log-prob gap")
    nll_weight: float = hyper(1.0, low=0.0, doc="weight of the chosen answer's NLL per token; TRL's cpo_alpha")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        nll = -batch.policy_chosen / batch.chosen_tokens
        return -logsigmoid(self.beta * (batch.policy_chosen - batch.policy_rejected)) + self.nll_weight * nll


@dataclass
class Orpo(Objective):
    """Odds-ratio preference optimisation: fine-tuning on the chosen text, and a chosen answer of higher odds than the rejected one.

    Per pair, with p_w and p_l the mean log-prob per token of the chosen and the rejected answer::

        NLL - beta * log sigma(log odds(p_w) - log odds(p_l)),   log odds(p) = p - log(1 - exp(p))

    NLL is the mean over the tokens of prompt and chosen answer together; the prompt's first token is predicted from nothing and is left out.
    """

    name = "orpo"
    source = "Hong et al. 2024, arXiv 2403.07691, Eq. 6 and 7 (beta is its lambda); NLL over prompt and answer: xfactlab/orpo and TRL"
    deviations = (
        "The NLL is the mean over each pair's own tokens; the authors' code and TRL average over the tokens of the whole batch. "
        "A mean log-prob above -1e-6, where the odds are lost to rounding, counts as -1e-6 in the odds."
    )
    reference_free = True
    wants = ("prompt_log_prob",)
    beta: float = hyper(0.1, low=0.0, doc="lambda: weight of the odds-ratio term")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        chosen, rejected = (log_odds(log_prob) for log_prob in mean_log_probs(batch))
        return self._nll(batch) - self.beta * logsigmoid(chosen - rejected)

    def _nll(self, batch: PairBatch) -> torch.Tensor:
        predicted_tokens = batch.prompt_tokens - 1 + batch.chosen_tokens
        return -(batch.statistics["prompt_log_prob"] + batch.policy_chosen) / predicted_tokens


def log_odds(log_prob: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) of probabilities given as their logarithms, any shape; finite, with a finite gradient, up to probability 1."""
    below_one = log_prob.clamp(max=LARGEST_MEAN_LOG_PROB)
    return below_one - torch.log(-torch.expm1(below_one))
