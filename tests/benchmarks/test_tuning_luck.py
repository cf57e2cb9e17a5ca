"""The tuner's luck: nothing is lost where seeds agree, and less with more seeds where they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.tuning_luck import losses, main, seed_deviation

BOARD = Path(__file__).parents[2] / "leaderboards" / "prefworld-temperatures"


def test_where_seeds_agree_the_best_is_chosen() -> None:
    assert losses(np.array([0.6, 0.62, 0.3]), 0.0, 1, np.random.default_rng(0)).max() == 0.0


def test_two_trials_are_mistaken_for_each_other_as_often_as_the_normal_distribution_says() -> None:
    """A point apart, with a deviation of two of each mean of two seeds: z = 1 / (sqrt(2) * 2 / sqrt(2)) = .5, and Phi(-.5) is 30.9 %."""
    lost = np.concatenate([losses(np.array([0.60, 0.61]), 0.02, 2, np.random.default_rng(seed)) for seed in range(20)])
    assert (lost > 0).mean() == pytest.approx(0.309, abs=0.012)
    assert lost.max() == pytest.approx(0.01)


def test_the_deviation_is_that_of_trials_near_the_best() -> None:
    rates = np.array([[0.60, 0.64], [0.61, 0.61], [0.1, 0.3]])
    assert seed_deviation([rates]) == pytest.approx(np.sqrt((0.0008 + 0.0) / 2))


def test_the_table_has_a_line_for_each_board(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(BOARD)])
    head, _, line = capsys.readouterr().out.splitlines()
    assert line.startswith("| prefworld-temperatures | 4 | 12 |")
    assert line.count("|") == head.count("|")
