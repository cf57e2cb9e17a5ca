"""The simulation study in small: what it counts, and that intervals and verdicts keep their promises on boards of six methods."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.coverage import DRAWS, MEAN, REGRESSION, TRUTHS, WEIGHTED, WORLDS, Line, Scenario, World, lines, simulate, table

BOARDS = 300
LIMIT = 5.0 + 3 * 100 * math.sqrt(0.05 * 0.95 / BOARDS)
"""False verdicts in percent: five, and three standard errors of the simulation."""


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("world", [WORLDS[0], *WORLDS[-2:]], ids=lambda world: world.name)
def test_intervals_cover_and_equal_methods_are_told_apart_seldom(world: World, seeds: int) -> None:
    tally = simulate(Scenario(MEAN, world, seeds, 80, different=False), BOARDS)
    assert 91 <= tally.differences <= 98
    assert 91 <= tally.levels <= 98
    assert tally.false <= LIMIT
    assert math.isnan(tally.found)


def test_at_three_seeds_the_intervals_own_t_would_err_too_often() -> None:
    """What the p-values' own distribution is for."""
    tally = simulate(Scenario(MEAN, WORLDS[-1], 3, 80, different=False), BOARDS)
    assert tally.false <= LIMIT < tally.false_by_t


def test_true_differences_are_found_more_often_with_more_seeds() -> None:
    three, ten = (simulate(Scenario(MEAN, WORLDS[0], seeds, 80, different=True), 100) for seeds in (3, 10))
    assert three.found < ten.found
    assert ten.found > 60
    assert ten.false <= 12


def test_a_metric_known_by_draws_covers_too() -> None:
    tally = simulate(Scenario(WEIGHTED, WORLDS[0], 5, 80, different=True), 100)
    assert 90 <= tally.differences <= 99


def test_the_truth_of_the_regression_is_a_half_without_a_shift_and_more_with_one() -> None:
    world = World("small", 0.1, 0.3, 1.0)
    baseline, shifted, same = TRUTHS[REGRESSION](Scenario(REGRESSION, world, 3, 80, different=True))
    assert baseline == same < shifted < 1


def test_the_table_has_a_line_per_scenario_and_a_number_per_count_of_seeds() -> None:
    line = Line(MEAN, WORLDS[0], 80, different=True)
    tallies = [simulate(scenario, 2) for scenario in line.scenarios()]
    header, ruler, row = table([(line, tallies)])
    assert header.count("|") == ruler.count("|") == row.count("|")
    assert len(row.split("|")[5].split()) == 3
    assert {one.different for one in lines()} == {False, True}


def test_the_table_in_the_documentation_keeps_the_promises() -> None:
    """Coverage of 91 to 98 % in every cell, and false verdicts at most 5 %, up to three standard errors of 5,000 or 1,000 boards."""
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith(tuple(f"| {m} |" for m in DRAWS))
    ]
    assert [(row[0], row[1], int(row[2])) for row in rows] == [(line.metric, line.world.name, line.questions) for line in lines()]
    for metric, _, _, _, differences, levels, false, _, _ in rows:
        assert all(91 <= float(share) <= 98 for share in (differences + " " + levels).split())
        error = 100 * math.sqrt(0.05 * 0.95 / (1000 if metric == REGRESSION else 5000))
        assert all(float(share) <= 5 + 3 * error for share in false.split())


def test_the_same_scenario_gives_the_same_counts() -> None:
    scenario = Scenario(MEAN, WORLDS[0], 3, 20, different=False)
    assert np.array_equal(*([*vars(simulate(scenario, 5)).values()] for _ in range(2)), equal_nan=True)
