"""RHO-LOSS: the largest reducible losses, or draws in proportion to their exponentials."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from prefbench.api import Pool
from prefbench.schedulers.draws import draw_without_replacement, share_of
from prefbench.schedulers.rho_loss import RhoLoss


def pool(loss: list[float], irreducible: list[float]) -> Pool:
    return Pool(np.arange(len(loss)), {"difficulty": np.array(irreducible)}, {"loss": np.array(loss)}, 0.0)


def test_a_noisy_pair_is_passed_over_however_large_its_loss() -> None:
    """Pair 0: large loss, all of it irreducible; pair 1: learnt already; pair 2 and 3: learnable, and not yet learnt."""
    offered = pool([5.0, 0.1, 0.9, 0.7], [4.9, 0.1, 0.3, 0.2])
    assert RhoLoss().select(offered, 2, np.random.default_rng(0)).tolist() == [2, 3]


def test_equal_scores_keep_the_pools_order() -> None:
    assert RhoLoss().select(pool([0.7] * 20, [0.7] * 20), 10, np.random.default_rng(0)).tolist() == list(range(10))


def test_the_irreducible_loss_is_any_column() -> None:
    assert RhoLoss(column="holdout-loss").needs == ("holdout-loss",)


def test_boltzmann_draws_are_proportional_to_the_exponential_of_score_over_temperature() -> None:
    """8000 draws of one pair: five standard errors of at most .0056 are .028, and T = 1 in place of .5 would be off by .16."""
    scores, temperature = np.array([1.0, 0.5, 0.0, -0.5]), 0.5
    expected = np.exp(scores / temperature) / np.exp(scores / temperature).sum()
    rng, scheduler = np.random.default_rng(0), RhoLoss(temperature=temperature)
    offered = pool((scores + 2.0).tolist(), [2.0] * 4)
    counts = np.bincount([scheduler.select(offered, 1, rng)[0] for _ in range(8000)], minlength=4)
    assert counts / 8000 == pytest.approx(expected, abs=0.028)


def test_draws_without_replacement_follow_the_probabilities_of_those_left() -> None:
    """P(a, then b) = p_a * p_b / (1 - p_a) for every ordered pair of three: 12 000 draws, five standard errors of at most .0046."""
    weights = np.array([6.0, 3.0, 1.0])
    probability, rng = weights / weights.sum(), np.random.default_rng(1)
    draws = [tuple(draw_without_replacement(np.log(weights), 2, rng).tolist()) for _ in range(12_000)]
    for a, b in itertools.permutations(range(3), 2):
        assert draws.count((a, b)) / 12_000 == pytest.approx(probability[a] * probability[b] / (1 - probability[a]), abs=0.023)


def test_weights_that_would_underflow_are_drawn_in_their_order() -> None:
    """exp(-1000 * i) is 0 for all but the first: dividing by what is left would be 0 / 0."""
    assert draw_without_replacement(-1000.0 * np.arange(5), 4, np.random.default_rng(0)).tolist() == [0, 1, 2, 3]


def test_a_share_is_rounded_and_never_nothing() -> None:
    assert [share_of(10, share) for share in (0.0, 0.04, 0.5, 0.96, 1.0)] == [1, 1, 5, 10, 10]
