"""Built-in schedulers: distinct positions, the right ones, and a fair draw."""

from __future__ import annotations

import numpy as np
import pytest

from prefbench.api import Pool, Scheduler
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.schedulers.random_subset import RandomSubset
from prefbench.schedulers.uniform import Uniform


def pool(*losses: float) -> Pool:
    """A pool whose pairs have these losses."""
    return Pool(np.arange(100, 100 + len(losses)), {}, {"loss": np.array(losses, dtype=np.float64)}, 0.0)


def select(scheduler: Scheduler, offered: Pool, size: int, seed: int = 0) -> list[int]:
    return scheduler.select(offered, size, np.random.default_rng(seed)).tolist()


def test_uniform_takes_all_in_order() -> None:
    assert Uniform().ratio == 1.0
    assert select(Uniform(), pool(3, 1, 2), 3) == [0, 1, 2]


@pytest.mark.parametrize("scheduler", [RandomSubset(), LossRanked(), LossRanked(order="low")], ids=str)
@pytest.mark.parametrize("size", [1, 7, 16])
def test_positions_are_distinct_and_inside(scheduler: Scheduler, size: int) -> None:
    chosen = select(scheduler, pool(*np.random.default_rng(1).normal(size=16)), size)
    assert len(chosen) == len(set(chosen)) == size
    assert all(0 <= position < 16 for position in chosen)


def test_random_subset_is_fair_and_reproducible() -> None:
    """Every position half the time: 4000 draws, five standard errors of .0079."""
    rng = np.random.default_rng(0)
    offered = pool(*range(8))
    counts = np.bincount(np.concatenate([RandomSubset().select(offered, 4, rng) for _ in range(4000)]), minlength=8)
    assert np.abs(counts / 4000 - 0.5).max() < 0.04
    assert select(RandomSubset(), offered, 4, seed=3) == select(RandomSubset(), offered, 4, seed=3)


def test_loss_ranked_takes_the_named_end_in_rank_order() -> None:
    offered = pool(0.2, 0.9, 0.5, 0.1)
    assert select(LossRanked(order="high"), offered, 2) == [1, 2]
    assert select(LossRanked(order="low"), offered, 2) == [3, 0]


@pytest.mark.parametrize("order", ["high", "low"])
def test_equal_losses_keep_the_pools_order(order: str) -> None:
    """At the first step every DPO loss is log 2: the choice must not hang on how a machine sorts."""
    assert select(LossRanked(order=order), pool(*[np.log(2)] * 20), 10) == list(range(10))


@pytest.mark.parametrize("order", ["high", "low"])
def test_lost_pairs_come_last(order: str) -> None:
    """A loss that is no number is trained on only when nothing else is left."""
    assert select(LossRanked(order=order), pool(np.nan, 1.0, 1.0), 2) == [1, 2]
