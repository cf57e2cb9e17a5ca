"""Both forms of KTO: the reference points, where they end, and what gradient passes through them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.objectives.kto import Kto, KtoPaired
from tests.objectives.told_pairs import tensor, told_pairs

CHOSEN, REJECTED = np.array([1.0, -1.0, 0.4, 1.5]), np.array([-0.5, 0.4, 0.2, -4.0])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def test_kto_measures_from_the_mismatched_answers() -> None:
    baseline = (0.6 - 0.2 + 1.1 + 0.3) / 4
    expected = 0.5 * (1.0 - sigmoid(0.1 * (CHOSEN - baseline)) + 1.0 - sigmoid(0.1 * (baseline - REJECTED)))
    assert Kto(beta=0.1).per_pair(told_pairs()).numpy() == pytest.approx(expected, abs=1e-12)


def test_kto_baseline_ends_at_zero() -> None:
    """A divergence is not negative, though the mean of a few log-ratios may be."""
    negative = told_pairs(statistics={"mismatched_log_ratio": tensor(-3.0, -1.0, 0.5, -2.0)})
    nought = told_pairs(statistics={"mismatched_log_ratio": tensor(0, 0, 0, 0)})
    assert torch.equal(Kto().per_pair(negative), Kto().per_pair(nought))


def test_kto_weights_chosen_and_rejected_apart() -> None:
    chosen_only = Kto(desirable=1.0, undesirable=0.0).per_pair(told_pairs())
    rejected_only = Kto(desirable=0.0, undesirable=1.0).per_pair(told_pairs())
    torch.testing.assert_close(Kto(desirable=1.5, undesirable=0.5).per_pair(told_pairs()), 1.5 * chosen_only + 0.5 * rejected_only)
    assert chosen_only[3].item() == pytest.approx(0.5 * (1.0 - sigmoid(np.array(0.1 * (1.5 - 0.45)))))


def test_paired_means_that_are_negative_count_as_zero() -> None:
    """The worked rejected log-ratios average -.975: chosen answers are then valued against 0."""
    loss = KtoPaired(beta=0.1).per_pair(told_pairs()).numpy()
    rejected_loss = 1.0 - sigmoid(0.1 * (CHOSEN.mean() - REJECTED))
    assert loss == pytest.approx(0.5 * (1.0 - sigmoid(0.1 * CHOSEN) + rejected_loss), abs=1e-12)


def test_detached_means_change_the_gradient_and_not_the_loss() -> None:
    """Every chosen log-ratio moves K_w, and so every rejected answer's loss: by beta * sigma' / 2 / B each, unless detached."""
    through, stopped = (_chosen_gradient(KtoPaired(beta=0.1, detached=detached)) for detached in (False, True))
    value = sigmoid(0.1 * (CHOSEN.mean() - REJECTED))
    assert stopped == pytest.approx(-0.05 * sigmoid(0.1 * CHOSEN) * sigmoid(-0.1 * CHOSEN), abs=1e-12)
    assert through - stopped == pytest.approx(np.full(4, -0.05 * (value * (1.0 - value)).mean()), abs=1e-12)
    torch.testing.assert_close(KtoPaired(detached=True).per_pair(told_pairs()), KtoPaired().per_pair(told_pairs()))


def _chosen_gradient(objective: KtoPaired) -> np.ndarray:
    chosen = told_pairs().policy_chosen.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.per_pair(told_pairs(policy_chosen=chosen)).sum(), chosen)
    return gradient.numpy()
