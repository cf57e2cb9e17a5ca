"""WPO: the weights, their end at 1, and that nothing is learnt from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.objectives.dpo import Dpo
from prefbench.objectives.wpo import Wpo
from tests.objectives.told_pairs import STATISTICS, tensor, told_pairs

LOG_WEIGHTS = (np.array([-12.0, -20.0, -9.5, -30.0]) - STATISTICS["chosen_collision"]) / [6, 10, 5, 12] + (
    np.array([-15.0, -18.0, -9.0, -41.0]) - STATISTICS["rejected_collision"]
) / [5, 9, 4, 20]


def test_a_pair_counts_by_how_likely_the_policy_writes_it() -> None:
    expected = np.exp(LOG_WEIGHTS) * np.log1p(np.exp(-0.1 * np.array([1.5, -1.4, 0.2, 5.5])))
    assert (LOG_WEIGHTS < 0.0).all()
    assert Wpo(beta=0.1).per_pair(told_pairs()).numpy() == pytest.approx(expected, abs=1e-12)


def test_no_pair_weighs_more_than_one_unless_told() -> None:
    """The product ends at 1, not each weight: a likely rejected answer may make up for an unlikely chosen one."""
    likely = told_pairs(statistics={"rejected_collision": tensor(-16.0, -30.0, -9.6, -33.0)})
    plain = Dpo(beta=0.1).per_pair(likely)
    clamped, free = (Wpo(beta=0.1, clamped=clamped).per_pair(likely) / plain for clamped in (True, False))
    exponents = LOG_WEIGHTS + np.array([4.0 / 5, 11.0 / 9, 0.0, 0.0])
    assert free.numpy() == pytest.approx(np.exp(exponents), abs=1e-12)
    assert clamped.numpy() == pytest.approx(np.minimum(1.0, np.exp(exponents)), abs=1e-12)
    assert (exponents[:2] > 0.0).any()


def test_no_gradient_passes_through_the_weights() -> None:
    """Neither by the log-probs, where it would reward unlikely pairs, nor by the collision sums."""
    names = ("policy_chosen", "policy_rejected")
    leaves = [getattr(told_pairs(), name).clone().requires_grad_() for name in names]
    collision = tensor(*STATISTICS["chosen_collision"]).requires_grad_()
    pairs = told_pairs(statistics={"chosen_collision": collision}, **dict(zip(names, leaves, strict=True)))
    weighted = torch.autograd.grad(Wpo(beta=0.1).per_pair(pairs).sum(), [*leaves, collision], allow_unused=True)
    plain = torch.autograd.grad(Dpo(beta=0.1).per_pair(pairs).sum(), leaves)
    assert weighted[2] is None
    for with_weight, without in zip(weighted, plain, strict=False):
        assert with_weight.numpy() == pytest.approx(np.exp(LOG_WEIGHTS) * without.numpy(), abs=1e-12)
