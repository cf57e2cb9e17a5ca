"""Intervals over crossed seeds and questions: their arithmetic, and their coverage under simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from prefbench.report.stats import REPLICATES, crossed, fitted, question_draws


def test_the_interval_of_a_two_by_three_matrix_by_hand() -> None:
    # Marginal means: seeds 2, 4; questions 2, 3, 4; no residual but the corner's +-0.5 pattern.
    values = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]) + np.array([[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0]])
    estimate = crossed(values)
    seed, question, residual = 2.0 / 2, 1.0 / 3, (4 * 0.25 / 2) / 6
    variance = seed + question - residual
    df = variance**2 / (seed**2 / 1 + question**2 / 2 + residual**2 / 2)
    half = stats.t.ppf(0.975, df) * math.sqrt(variance)
    assert estimate.value == pytest.approx(3.0)
    assert (estimate.se, estimate.df) == pytest.approx((math.sqrt(variance), df))
    assert (estimate.low, estimate.high) == pytest.approx((3.0 - half, 3.0 + half))
    assert (estimate.seeds, estimate.questions) == (2, 3)


def test_the_standard_error_never_falls_below_that_of_the_seeds_alone() -> None:
    residual_only = np.array([[1.0, -1.0], [-1.0, 1.0]])
    estimate = crossed(residual_only + np.array([[0.1], [-0.1]]))
    assert estimate.se == pytest.approx(0.1)
    assert estimate.df >= 1


def test_one_seed_leaves_the_interval_of_a_mean_over_questions() -> None:
    values = np.random.default_rng(0).normal(size=(1, 30))
    low, high = stats.t.interval(0.95, 29, loc=values.mean(), scale=values.std(ddof=1) / math.sqrt(30))
    estimate = crossed(values)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert estimate.seeds == 1


def test_one_question_leaves_the_interval_of_a_mean_over_seeds() -> None:
    values = np.array([[1.0], [2.0], [4.0]])
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=values.std(ddof=1) / math.sqrt(3))
    assert (crossed(values).low, crossed(values).high) == pytest.approx((low, high))


def test_a_single_number_has_no_interval() -> None:
    estimate = crossed(np.array([[0.5]]))
    assert estimate.value == 0.5
    assert math.isnan(estimate.low)


def test_no_value_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        crossed(np.full((2, 3), np.nan))


def test_missing_entries_leave_the_mean_of_the_seeds_means() -> None:
    values = np.array([[1.0, 2.0, np.nan], [3.0, 5.0, 7.0]])
    assert crossed(values).value == pytest.approx((1.5 + 5.0) / 2)


def test_a_few_missing_entries_change_the_interval_little() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(5, 1)) * 0.1 + rng.normal(size=(1, 200)) * 0.3 + rng.normal(size=(5, 200)) * 0.3
    holes = np.where(rng.random(values.shape) < 0.03, np.nan, values)
    assert crossed(holes).se == pytest.approx(crossed(values).se, rel=0.1)


def test_a_fitted_mean_has_the_interval_of_the_mean() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(4, 1)) * 0.1 + rng.normal(size=(1, 300)) * 0.3 + rng.normal(size=(4, 300)) * 0.4
    estimate, exact = fitted(values.mean(axis=1), values @ question_draws(300).T / 300, 300), crossed(values)
    assert estimate.value == pytest.approx(exact.value)
    # 400 draws know a variance to 7 %.
    assert estimate.se == pytest.approx(exact.se, rel=0.07)


def test_one_draw_of_questions_serves_all_seeds_and_never_changes() -> None:
    draws = question_draws(50)
    assert draws.shape == (REPLICATES, 50)
    assert (draws.sum(axis=1) == 50).all()
    assert (draws == question_draws(50)).all()


WORLDS = {"seeds": (0.06, 0.1, 0.3), "questions": (0.01, 0.4, 0.2), "noise": (0.0, 0.0, 0.4), "mixed": (0.03, 0.2, 0.4)}
"""Standard deviations of seeds, questions and residual."""


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("world", WORLDS)
def test_ninety_five_percent_intervals_cover_at_three_to_ten_seeds(world: str, seeds: int) -> None:
    rng, (seed, question, noise), runs = np.random.default_rng(3), WORLDS[world], 1000
    covered = 0
    for _ in range(runs):
        values = rng.normal(0, seed, (seeds, 1)) + rng.normal(0, question, (1, 80)) + rng.normal(0, noise, (seeds, 80))
        estimate = crossed(values)
        covered += estimate.low <= 0 <= estimate.high
    assert 0.91 <= covered / runs <= 0.98


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_of_a_fitted_metric_cover_too(seeds: int) -> None:
    """A ratio of two means of dependent values, whose truth is 1/2."""
    rng, runs, covered = np.random.default_rng(4), 500, 0
    draws = question_draws(80)
    for _ in range(runs):
        below = 1 + rng.random((1, 80))
        above = below / 2 + rng.normal(0, 0.04, (seeds, 1)) + rng.normal(0, 0.2, (1, 80)) + rng.normal(0, 0.3, (seeds, 80))
        replicates = (above @ draws.T) / (below @ draws.T)
        estimate = fitted(above.mean(axis=1) / below.mean(), replicates, 80)
        covered += estimate.low <= 0.5 <= estimate.high
    assert 0.91 <= covered / runs <= 0.98
