"""Nca, bco-pair and sppo-hard: where each answer's reward is driven, and the mean that bco-pair keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.api import PairBatch
from prefbench.objectives.pointwise import BcoPair, Nca, SppoHard
from tests.objectives.told_pairs import tensor, told_pairs

CHOSEN, REJECTED = np.array([1.0, -1.0, 0.4, 1.5]), np.array([-0.5, 0.4, 0.2, -4.0])


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def test_nca_holds_the_chosen_reward_at_log_two() -> None:
    """sigma(beta * r_w) = 2/3: beyond it the chosen answer is pushed back, which DPO never does."""
    best = np.log(2.0) / 0.01
    reference = tensor(-50.0, -50.0, -50.0)
    pairs = told_pairs(
        policy_chosen=reference + tensor(best - 5.0, best, best + 5.0),
        policy_rejected=reference,
        reference_chosen=reference,
        reference_rejected=reference,
    )
    below, least, above = Nca().per_pair(pairs).tolist()
    assert least < min(below, above)


def test_sppo_is_nought_at_its_two_targets() -> None:
    pairs = told_pairs()
    there = told_pairs(policy_chosen=pairs.reference_chosen + 500.0, policy_rejected=pairs.reference_rejected - 500.0)
    assert SppoHard(beta=1e-3).per_pair(there).tolist() == pytest.approx([0.0] * 4, abs=1e-18)


def test_sppo_starts_at_half_a_million() -> None:
    """What a track's bound on the loss has to leave room for."""
    pairs = told_pairs()
    home = told_pairs(policy_chosen=pairs.reference_chosen, policy_rejected=pairs.reference_rejected)
    assert SppoHard().per_pair(home).tolist() == pytest.approx([500_000.0] * 4)


def test_bco_uses_the_mean_that_this_batch_moved() -> None:
    objective = BcoPair(beta=0.1)
    objective.update(told_pairs())
    mean = 0.1 * np.concatenate([CHOSEN, REJECTED]).mean()
    expected = softplus(-(0.1 * CHOSEN - mean)) + softplus(0.1 * REJECTED - mean)
    assert objective.per_pair(told_pairs()).numpy() == pytest.approx(expected, abs=1e-12)


def test_bco_mean_is_over_every_answer_seen() -> None:
    """Three pairs of log-ratios 10 after four pairs: fourteen answers of equal weight, not two batches of equal weight."""
    objective = BcoPair(beta=0.1)
    objective.update(told_pairs())
    objective.update(_tens(3))
    assert objective.reward_mean == pytest.approx(0.1 * (CHOSEN.sum() + REJECTED.sum() + 6 * 10.0) / 14)


def test_bco_mean_moves_in_update_alone() -> None:
    objective = BcoPair(beta=0.1)
    objective.update(told_pairs())
    once = objective.reward_mean
    first, second = objective.per_pair(told_pairs()), objective.per_pair(_tens(7))
    assert objective.reward_mean == once
    assert (len(first), len(second)) == (4, 7)


def test_bco_mean_is_state_that_goes_on() -> None:
    objective, resumed = BcoPair(), BcoPair()
    objective.update(told_pairs())
    resumed.load_state_dict(objective.state_dict())
    for one in (objective, resumed):
        one.update(_tens(2))
    assert resumed.state_dict() == objective.state_dict() == {"reward_mean": objective.reward_mean, "rewards_seen": 12}
    assert torch.equal(resumed.per_pair(told_pairs()), objective.per_pair(told_pairs()))


def _tens(pairs: int) -> PairBatch:
    home = torch.zeros(pairs, dtype=torch.float64)
    return told_pairs(policy_chosen=home + 10.0, policy_rejected=home + 10.0, reference_chosen=home, reference_rejected=home)
