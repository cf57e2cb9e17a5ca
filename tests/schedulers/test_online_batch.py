"""Online batch selection: the ranking, its probabilities, the pressure, what is refreshed, and going on after a kill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prefbench.api import Pool
from prefbench.schedulers.online_batch import OnlineBatch
from prefbench.train.tree import flatten, unflatten

STEEP = 1e300
"""A pressure under which the draws follow the ranking itself: with ten pairs, each rank is 10^30 times as likely as the next."""


def prepared(count: int, **options: Any) -> OnlineBatch:
    scheduler = OnlineBatch(**options)
    scheduler.prepare({}, count, np.random.default_rng(0))
    return scheduler


def show(scheduler: OnlineBatch, losses: dict[int, float], progress: float = 0.0) -> None:
    """Offer a pool of these rows with these losses."""
    offered = Pool(np.array(list(losses)), {}, {"loss": np.array(list(losses.values()))}, progress)
    scheduler.select(offered, 1, np.random.default_rng(0))


def next_pool(scheduler: OnlineBatch, size: int, seed: int = 0) -> list[int]:
    return scheduler.next_pool(size, np.random.default_rng(seed)).tolist()


def test_the_probability_of_a_rank_falls_as_the_paper_says() -> None:
    """P(i) = 100^(-i/6) / sum for ranks 1..6: 10 000 draws of one pair, five standard errors of .005; 5 for 6 would be off by .06."""
    scheduler, rng = prepared(6, ratio=1.0), np.random.default_rng(1)
    show(scheduler, {0: 0.3, 1: 0.9, 2: 0.1, 3: 0.5, 4: 0.2, 5: 0.7})
    weights = np.array([100 ** (-rank / 6) for rank in (1, 2, 3, 4, 5, 6)])
    counts = np.bincount([scheduler.next_pool(1, rng)[0] for _ in range(10_000)], minlength=6) / 10_000
    assert counts[[1, 5, 3, 0, 4, 2]] == pytest.approx(weights / weights.sum(), abs=0.025)


def test_pressure_1_draws_every_pair_alike() -> None:
    """10 000 draws of one of four: five standard errors of .0043."""
    scheduler, rng = prepared(4, ratio=1.0, pressure=1.0), np.random.default_rng(1)
    show(scheduler, {0: 9.0, 1: 3.0, 2: 1.0, 3: 0.0})
    counts = np.bincount([scheduler.next_pool(1, rng)[0] for _ in range(10_000)], minlength=4) / 10_000
    assert np.abs(counts - 0.25).max() < 0.022


def test_pairs_never_seen_rank_before_the_largest_loss() -> None:
    scheduler = prepared(10, ratio=1.0, pressure=STEEP)
    show(scheduler, {3: 1e6, 7: 0.1})
    drawn = next_pool(scheduler, 10)
    assert sorted(drawn[:8]) == [0, 1, 2, 4, 5, 6, 8, 9]
    assert drawn[8:] == [3, 7]


def test_pairs_of_equal_loss_are_not_ranked_by_their_place_in_the_data() -> None:
    """At the first step no loss is known: a file sorted by topic must not be trained on from its top."""
    orders = []
    for seed in range(3):
        scheduler = OnlineBatch(ratio=1.0, pressure=STEEP)
        scheduler.prepare({}, 10, np.random.default_rng(seed))
        orders.append(tuple(next_pool(scheduler, 10)))
    assert len({*orders, tuple(range(10))}) == 4


def test_a_new_loss_replaces_the_old_one() -> None:
    scheduler = prepared(3, ratio=1.0, pressure=STEEP)
    show(scheduler, {0: 3.0, 1: 2.0, 2: 1.0})
    show(scheduler, {0: 0.5})
    assert next_pool(scheduler, 3) == [1, 2, 0]


def test_the_pressure_decays_exponentially_with_progress() -> None:
    scheduler = prepared(2, pressure=100.0, final_pressure=4.0)
    seen = [scheduler.pressure_now()]
    for progress in (0.5, 1.0):
        show(scheduler, {0: 1.0}, progress)
        seen.append(scheduler.pressure_now())
    assert seen == pytest.approx([100.0, 20.0, 4.0])


def test_the_rest_of_a_pool_are_the_oldest_losses_of_the_highest_ranks() -> None:
    """By rank the rows are 0..7. Of a pool of 4, rows 0 and 1 are drawn. Of the six left the upper half is 2, 3 and 4, the oldest of them 4 and 2;
    row 7's loss is older still, but ranks too low."""
    scheduler = prepared(8, pressure=STEEP, ratio=0.5, refreshed=0.5)
    show(scheduler, {7: 1.0})
    show(scheduler, {4: 4.0})
    show(scheduler, {2: 6.0, 0: 8.0, 1: 7.0})
    show(scheduler, {3: 5.0, 5: 3.0, 6: 2.0})
    assert next_pool(scheduler, 4) == [0, 1, 4, 2]
    scheduler.refreshed = 1.0
    assert next_pool(scheduler, 4) == [0, 1, 7, 4]


def test_pairs_never_seen_are_refreshed_first() -> None:
    """Of 24 pairs the first pool of 12 scores 12; the six that are refreshed in the second and in the third are new, whichever six are drawn."""
    scheduler, rng = prepared(24, ratio=0.5, pressure=1.0, refreshed=1.0), np.random.default_rng(0)
    for _ in range(3):
        rows = scheduler.next_pool(12, rng)
        show(scheduler, dict.fromkeys(rows.tolist(), 1.0))
    assert scheduler.diagnostics() == {"pressure": 1.0, "unseen": 0.0}


@pytest.mark.parametrize("size", [1, 2, 7, 20])
def test_a_pool_holds_distinct_rows_and_the_drawn_ones_are_selected(size: int) -> None:
    scheduler, rng = prepared(20), np.random.default_rng(0)
    for step in range(5):
        rows = scheduler.next_pool(size, rng)
        assert len(rows) == len(set(rows.tolist())) == size
        assert set(rows.tolist()) <= set(range(20))
        offered = Pool(rows, {}, {"loss": rng.normal(size=size)}, step / 4)
        picked = max(1, round(0.5 * size))
        assert scheduler.select(offered, picked, rng).tolist() == list(range(picked))


def steps(scheduler: OnlineBatch, numbers: range) -> list[list[int]]:
    """Pools of 6 of 15 pairs, with losses and draws that follow from the number of the step."""
    pools = []
    for step in numbers:
        pools.append(next_pool(scheduler, 6, seed=step))
        show(scheduler, {row: float(np.sin(row + step)) for row in pools[-1]}, step / 9)
    return pools


def test_a_run_that_was_killed_goes_on_with_the_same_pools() -> None:
    whole, first, second = prepared(15), prepared(15), prepared(15)
    expected = steps(whole, range(10))
    before = steps(first, range(4))
    second.load_state_dict(unflatten(*flatten(first.state_dict())))
    assert before + steps(second, range(4, 10)) == expected
    assert steps(prepared(15), range(4, 10)) != expected[4:]


def test_a_state_that_was_handed_out_stays_as_it_was() -> None:
    scheduler = prepared(4)
    state = scheduler.state_dict()
    show(scheduler, {0: 1.0, 1: 2.0})
    assert np.isinf(state["losses"]).all()
    assert state["pools"] == 0
