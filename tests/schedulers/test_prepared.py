"""Schedulers that decide before training: the order and the part of the pairs that they leave."""

from __future__ import annotations

import numpy as np
import pytest

from prefbench.api import Scheduler
from prefbench.schedulers.curriculum import Curriculum
from prefbench.schedulers.margin_filter import MarginFilter
from prefbench.schedulers.selective import Selective


def prepare(scheduler: Scheduler, *values: float, seed: int = 0) -> list[int]:
    """The rows that it leaves of pairs with these values in its column."""
    (column,) = scheduler.needs
    rows = scheduler.prepare({column: np.array(values, dtype=np.float64)}, len(values), np.random.default_rng(seed))
    assert rows is not None
    return rows.tolist()


def test_a_curriculum_goes_from_large_margins_to_small_ones_or_back() -> None:
    assert prepare(Curriculum(), 0.2, -1.0, 3.0, 0.5) == [2, 3, 0, 1]
    assert prepare(Curriculum(order="hard-first"), 0.2, -1.0, 3.0, 0.5) == [1, 0, 3, 2]


def test_a_curriculum_is_offered_in_its_order_and_trained_on_whole() -> None:
    assert (Curriculum().reshuffled, Curriculum().ratio, Curriculum(column="gap").needs) == (False, 1.0, ("gap",))


@pytest.mark.parametrize("order", ["easy-first", "hard-first"])
def test_ties_of_a_curriculum_keep_the_order_of_the_data(order: str) -> None:
    first, second = (1, 0) if order == "easy-first" else (0, 1)
    assert prepare(Curriculum(order=order), *[0.0, 1.0] * 50) == [*range(first, 100, 2), *range(second, 100, 2)]


def test_epsilon_fills_its_share_of_places_at_random_and_loses_no_pair() -> None:
    """Of 1000 places 300 are refilled, in each half 150 with a standard deviation of 7.2, and about one of them with the pair that was there."""
    rows = prepare(Curriculum(order="hard-first", epsilon=0.3), *range(1000))
    moved = np.array([row != place for place, row in enumerate(rows)])
    assert sorted(rows) == list(range(1000))
    assert 290 <= moved.sum() <= 300
    assert 110 < moved[500:].sum() < 190


def test_epsilon_1_is_a_fair_shuffle_and_depends_on_the_generator_alone() -> None:
    """Pair 0 of 4 comes to each place a quarter of the time: 4000 shuffles, five standard errors of .0069."""
    shuffles = [prepare(Curriculum(epsilon=1.0), 3, 2, 1, 0, seed=seed) for seed in range(4000)]
    places = np.bincount([rows.index(0) for rows in shuffles], minlength=4) / 4000
    assert np.abs(places - 0.25).max() < 0.035
    assert prepare(Curriculum(epsilon=1.0), 3, 2, 1, 0, seed=7) == shuffles[7]


def test_selective_keeps_the_easiest_half_from_easy_to_hard() -> None:
    assert prepare(Selective(), 0.9, 0.1, 0.5, 0.3, 2.0, 0.7) == [1, 3, 2]
    assert prepare(Selective(share=0.67), 0.9, 0.1, 0.5, 0.3, 2.0, 0.7) == [1, 3, 2, 5]


def test_selective_keeps_the_earlier_of_equally_hard_pairs() -> None:
    assert prepare(Selective(share=0.75), *[0.7, 0.1] * 50) == [*range(1, 100, 2), *range(0, 50, 2)]


def test_selective_is_shuffled_only_where_it_is_told_so() -> None:
    assert (Selective().reshuffled, Selective(order="shuffled").reshuffled) == (False, True)
    assert sorted(prepare(Selective(order="shuffled"), 0.9, 0.1, 0.5, 0.3)) == [1, 3]


@pytest.mark.parametrize(("keep", "rows"), [("high", [1, 3, 5, 7]), ("low", [0, 2, 4, 6]), ("middle", [0, 3, 5, 6])])
def test_a_margin_filter_keeps_its_part_of_the_ranking(keep: str, rows: list[int]) -> None:
    """In ascending order the rows are 4, 2, 6, 0, 5, 3, 7, 1."""
    assert prepare(MarginFilter(keep=keep), 0.4, 9.0, -2.0, 0.6, -5.0, 0.5, 0.1, 0.8) == rows


def test_the_middle_lies_in_the_middle_where_it_cannot_be_halved() -> None:
    assert prepare(MarginFilter(keep="middle", share=0.2), *range(10)) == [4, 5]
    assert prepare(MarginFilter(keep="middle", share=0.2), *range(11)) == [4, 5]


def test_what_a_margin_filter_keeps_is_shuffled() -> None:
    assert MarginFilter().reshuffled


@pytest.mark.parametrize("scheduler", [Selective(share=0.01), MarginFilter(share=0.01)], ids=lambda scheduler: scheduler.name)
def test_a_share_of_less_than_a_pair_still_keeps_one(scheduler: Scheduler) -> None:
    assert len(prepare(scheduler, 1.0, 2.0, 3.0)) == 1
