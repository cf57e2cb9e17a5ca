"""The rewards of SamS: worked values, ranges, and pools in which all values are equal."""

from __future__ import annotations

import numpy as np
import pytest
from prefbench_sams.rewards import batch_reward, min_max, repo_batch_reward, rewards, sample_rewards, sigmoid

from prefbench.testing import worked_pairs

BATCH = 0.029554466451491707  # (A - B) / max(A, B) for mean losses .66 and .63
SAMPLES = [0.271121, 0.256098, 0.115942, 1.0]


def worked_samples() -> np.ndarray:
    pairs = worked_pairs()
    return sample_rewards(0.1 * pairs.margin.numpy(), pairs.policy_chosen.numpy(), delta=0.5)


def test_the_batch_is_rewarded_by_the_fall_of_the_exponentiated_mean_loss() -> None:
    assert batch_reward(np.array([0.56, 0.76]), np.array([0.6, 0.66])) == pytest.approx(BATCH, abs=1e-12)
    assert batch_reward(np.array([0.63]), np.array([0.66])) == pytest.approx(-BATCH, abs=1e-12)


def test_losses_of_any_size_are_rewarded_between_minus_one_and_one() -> None:
    """e^1000 is no float."""
    assert batch_reward(np.array([1e4]), np.array([0.0])) == pytest.approx(1.0)
    assert batch_reward(np.array([1e4]), np.array([1e4 + 1])) == pytest.approx(np.exp(-1) - 1)


def test_samples_are_rewarded_for_margin_and_uncertainty() -> None:
    assert worked_samples() == pytest.approx(SAMPLES, abs=1e-6)


def test_eq_8_in_the_papers_form() -> None:
    assert rewards(BATCH, worked_samples(), 0.5, "paper") == pytest.approx([0.537378, 0.535532, 0.518171, 0.619223], abs=1e-6)


def test_eq_8_as_the_code_has_it() -> None:
    assert rewards(BATCH, worked_samples(), 0.5, "repo-parity") == pytest.approx([0.758297, 0.757871, 0.753839, 0.776738], abs=1e-6)


def test_the_corrected_code_keeps_the_steep_squashing_and_one_sigmoid_less() -> None:
    steep, soft = 1 / (1 + np.exp(-50 * BATCH - 0.5)), 1 / (1 + np.exp(-np.array(SAMPLES)))
    assert rewards(BATCH, worked_samples(), 0.5, "repo-fixed") == pytest.approx(0.5 * steep + 0.5 * soft, abs=1e-6)


def test_the_code_punishes_an_improvement() -> None:
    """Mean sigmoid of the margins .50 and then .52: the pairs became easier."""
    before, now = np.zeros(3), np.full(3, np.log(0.52 / 0.48))
    assert repo_batch_reward(before, now, corrected=False) == pytest.approx(-0.04, abs=1e-12)
    assert repo_batch_reward(before, now, corrected=True) == pytest.approx(0.04, abs=1e-12)


def test_the_codes_reward_is_a_number_when_every_margin_is_hopeless() -> None:
    assert np.isfinite(repo_batch_reward(np.full(2, -1e4), np.full(2, -1e4), corrected=True))


def test_rewards_stay_in_the_stated_range() -> None:
    rng = np.random.default_rng(0)
    for size in (0.01, 1.0, 100.0):
        samples = sample_rewards(size * rng.normal(size=64), size * rng.normal(size=64), delta=0.5)
        assert samples.min() >= 0
        assert samples.max() <= 1
        reward = rewards(batch_reward(size * rng.normal(size=64), size * rng.normal(size=64)), samples, 0.5, "paper")
        assert reward.min() > 0.384
        assert reward.max() < 0.7311


def test_equal_values_have_a_min_max() -> None:
    """The authors' code divides 0 by 0 here."""
    assert min_max(np.full(4, -3.0)).tolist() == [0.0] * 4
    assert sample_rewards(np.ones(4), np.ones(4), delta=0.5).tolist() == [0.5] * 4


def test_the_sigmoid_does_not_overflow() -> None:
    with np.errstate(over="raise"):
        assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
