"""Scores of earlier steps, for schedulers that take them."""

from __future__ import annotations

import numpy as np
import pytest

from prefbench.objectives.dpo import Dpo
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.train.loop import accumulate_gradients, train
from prefbench.train.meter import Clocks
from prefbench.train.selection import pool_statistics, score_pool
from prefbench.train.state import LoopState
from tests.train.test_loop import make_job
from tests.train.test_selection import Watches


def stale_state() -> LoopState:
    return LoopState.fresh(make_job(Dpo(), LossRanked(stale=True)), Clocks())


def test_a_pair_is_scored_the_first_time_that_it_is_offered():
    state = stale_state()
    first, _ = score_pool(state, np.array([4, 9, 2]), 0)
    second, _ = score_pool(state, np.array([9, 7, 4]), 1)
    assert state.log.pairs_forward == 4
    fresh = pool_statistics(state.job, np.array([9, 7, 4]), 1)[0]["loss"]
    assert second.statistics["loss"] == pytest.approx(fresh)
    assert second.statistics["loss"][[0, 2]].tolist() == first.statistics["loss"][[1, 0]].tolist()


def test_its_score_is_then_what_training_saw_of_it_last():
    state, ids = stale_state(), np.array([4, 9, 2])
    score_pool(state, ids, 0)
    batch, losses, _ = accumulate_gradients(state.job, ids[:2], 1)
    state.seen.remember_trained(ids[:2], batch, losses + 1)
    assert state.seen.values["loss"][ids[:2]] == pytest.approx((losses + 1).numpy())
    assert score_pool(state, ids, 2)[0].statistics["loss"][:2] == pytest.approx((losses + 1).numpy())


def test_a_step_over_pairs_that_are_known_costs_the_forward_of_the_chosen_alone():
    rules = {"steps": 12, "pool": 8}  # four epochs of 24 pairs
    present, stale = (train(make_job(Dpo(), LossRanked(stale=known), **rules), Clocks()) for known in (False, True))
    assert present.pairs_forward == 12 * (8 + 4)
    assert stale.pairs_forward == 24 + 12 * 4


def test_hidden_states_are_never_stale():
    scheduler = Watches()
    scheduler.stale = True
    log = train(make_job(Dpo(), scheduler), Clocks())
    assert log.pairs_forward == 6 * (8 + 4)


def test_nothing_is_kept_of_what_nobody_reads():
    assert LoopState.fresh(make_job(Dpo(), LossRanked()), Clocks()).seen.values == {}
