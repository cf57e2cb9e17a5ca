"""TDPO1 and TDPO2: the divergences' signs, and which of them teach."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.api import Objective
from prefbench.objectives.tdpo import Tdpo1, Tdpo2
from tests.objectives.told_pairs import STATISTICS, tensor, told_pairs

MARGIN = np.array([1.5, -1.4, 0.2, 5.5])
LEAD = np.array(STATISTICS["rejected_kl"]) - STATISTICS["chosen_kl"]


@pytest.mark.parametrize(("objective", "share"), [(Tdpo1(), 1.0), (Tdpo2(), 0.5), (Tdpo2(alpha=1.0), 1.0)], ids=str)
def test_the_margin_is_less_by_the_rejected_divergence_beyond_the_chosen(objective: Objective, share: float) -> None:
    expected = np.log1p(np.exp(-0.1 * (MARGIN - share * LEAD)))
    assert objective.per_pair(told_pairs()).numpy() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("objective", "chosen_teaches"), [(Tdpo1(), True), (Tdpo2(), False)], ids=str)
def test_the_second_form_learns_nothing_from_the_chosen_divergence(objective: Objective, chosen_teaches: bool) -> None:
    chosen, rejected = (tensor(*STATISTICS[name]).requires_grad_() for name in ("chosen_kl", "rejected_kl"))
    loss = objective.per_pair(told_pairs(statistics={"chosen_kl": chosen, "rejected_kl": rejected})).sum()
    by_chosen, by_rejected = torch.autograd.grad(loss, [chosen, rejected], allow_unused=True)
    assert (by_chosen is not None) == chosen_teaches
    assert (by_rejected > 0.0).all()
    if chosen_teaches:
        torch.testing.assert_close(by_chosen, -by_rejected)


def test_the_second_form_still_learns_from_log_probs_as_dpo_does() -> None:
    chosen = told_pairs().policy_chosen.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Tdpo2().per_pair(told_pairs(policy_chosen=chosen)).sum(), chosen)
    z = 0.1 * (MARGIN - 0.5 * LEAD)
    assert gradient.numpy() == pytest.approx(-0.1 / (1.0 + np.exp(z)), abs=1e-12)
