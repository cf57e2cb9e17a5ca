"""Verdicts: p-values against Student's t and against draws, Holm by hand, and a detectable difference that is detected as often as promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from prefbench.report.stats import Estimate, crossed
from prefbench.report.verdicts import ONE_SEED, detectable, holm, judge, p_value, screening


def estimate(value: float, seeds: int = 5, questions: int = 400, share: float = 1.0) -> Estimate:
    """A difference with standard error 1, of whose square the seeds give a share."""
    return Estimate(value, math.nan, math.nan, 1.0, math.nan, seeds, questions, share)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("t", [0.3, 2.0, 8.0])
def test_where_seeds_are_all_that_varies_p_is_students(seeds: int, t: float) -> None:
    assert p_value(estimate(t, seeds)) == pytest.approx(2 * stats.t.sf(t, seeds - 1), rel=1e-4)
    assert p_value(estimate(-t, seeds)) == p_value(estimate(t, seeds))


def test_where_questions_are_all_that_varies_p_is_students_too() -> None:
    assert p_value(estimate(2.5, questions=12, share=0.0)) == pytest.approx(2 * stats.t.sf(2.5, 11), rel=1e-4)


def test_with_both_p_is_the_mean_over_what_the_variances_may_be() -> None:
    rng = np.random.default_rng(0)
    variance = 0.6 * 2 / rng.chisquare(2, 10**6) + 0.4 * 29 / rng.chisquare(29, 10**6)
    drawn = (2 * stats.norm.sf(3 / np.sqrt(variance))).mean()
    assert p_value(estimate(3.0, seeds=3, questions=30, share=0.6)) == pytest.approx(drawn, rel=0.01)


def test_p_is_that_of_the_rank_of_the_truth_among_simulated_boards() -> None:
    """Under no difference, p is below 1 % about once in a hundred, also at three seeds whose variance is as large as the questions'."""
    rng, runs, low = np.random.default_rng(1), 3000, 0
    for _ in range(runs):
        values = rng.normal(0, 0.03, (3, 1)) + rng.normal(0, 0.2, (1, 150)) + rng.normal(0, 0.4, (3, 150))
        low += p_value(crossed(values)) < 0.01
    assert low / runs < 0.015


def test_holm_by_hand() -> None:
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below 0.06), 0.9 x 1.
    assert holm([0.02, 0.9, 0.01, 0.03]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_verdicts_are_those_of_the_corrected_p() -> None:
    alone, (among, *_) = judge([estimate(3.2)])[0], judge([estimate(3.2), *[estimate(0.1)] * 4])
    assert alone.side == 1
    assert (among.p, among.side) == (alone.p, 0)
    assert among.corrected == pytest.approx(5 * alone.p)
    assert judge([estimate(-30.0), estimate(0.1)])[0].side == -1


def test_nothing_is_no_decision_and_no_nan() -> None:
    same = Estimate(0.0, 0.0, 0.0, 0.0, 2.0, 3, 40, 0.0)
    verdict = judge([same])[0]
    assert (verdict.side, verdict.p, verdict.corrected, verdict.detectable) == (0, 1.0, 1.0, 0.0)


def test_what_the_last_bit_of_a_sum_leaves_is_nothing() -> None:
    assert p_value(Estimate(3e-17, 0.0, 0.0, 1e-18, 2.0, 3, 40, 1e-36)) == 1.0


def test_a_constant_difference_is_certain() -> None:
    assert judge([crossed(np.full((3, 20), 0.25))])[0].side == 1


def test_one_seed_decides_nothing_and_counts_for_nothing() -> None:
    one, many = judge([estimate(50.0, seeds=1, share=0.0), estimate(3.2)])
    assert (one.side, one.reason) == (0, ONE_SEED)
    assert math.isnan(one.p)
    assert many.corrected == many.p


def test_the_detectable_difference_is_the_sum_of_two_quantiles() -> None:
    expected = stats.t.ppf(1 - 0.05 / (2 * 6), 4) + stats.t.ppf(0.8, 4)
    assert detectable(estimate(0.0), 6) == pytest.approx(expected, rel=1e-4)


def test_a_difference_of_the_detectable_size_is_found_as_often_as_promised() -> None:
    rng, runs = np.random.default_rng(2), 400
    noise = [rng.normal(0, 0.02, (10, 1)) + rng.normal(0, 0.1, (1, 100)) + rng.normal(0, 0.2, (10, 100)) for _ in range(runs)]
    size = float(np.mean([detectable(crossed(values), 4) for values in noise[:50]]))
    found = np.mean([4 * p_value(crossed(values + size)) < 0.05 for values in noise])
    assert 0.74 < found < 0.9


def test_fewer_than_five_seeds_are_marked() -> None:
    assert [screening(seeds) for seeds in (0, 4, 5)] == ["", " (screening)", ""]
