"""Scores of earlier steps, for schedulers that take them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from prefbench.objectives.dpo import Dpo
from prefbench.objectives.kto import Kto
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.train.job import KEPT, TWO_PASS
from prefbench.train.loop import accumulate_gradients, train
from prefbench.train.meter import Clocks
from prefbench.train.selection import pool_statistics, score_pool
from prefbench.train.state import LoopState
from tests.train.test_loop import make_job, relative_difference, trained_weights
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


def test_losses_that_depend_on_the_pairs_beside_them_are_scored_in_their_pool():
    """Alone, the last pair of an epoch would have no neighbour's answers, which KTO compares with."""
    job = make_job(Kto(), LossRanked(stale=True))
    state = LoopState.fresh(dataclasses.replace(job, reference=job.scorer.copy()), Clocks())
    score_pool(state, np.array([4, 9, 2]), 0)
    ids = np.array([9, 7, 4])
    whole = pool_statistics(state.job, ids, 1)[0]["loss"]
    assert score_pool(state, ids, 1)[0].statistics["loss"] == pytest.approx(whole)


def test_hidden_states_are_never_stale():
    scheduler = Watches()
    scheduler.stale = True
    log = train(make_job(Dpo(), scheduler), Clocks())
    assert log.pairs_forward == 6 * (8 + 4)


def test_nothing_is_kept_of_what_nobody_reads():
    assert LoopState.fresh(make_job(Dpo(), LossRanked()), Clocks()).seen.values == {}


@pytest.fixture
def graphs_of_several_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where a graph per pair would leave it idle."""
    for name in ("selection", "seen"):
        monkeypatch.setattr(f"prefbench.train.{name}.kept_tokens", lambda job: 90)


@pytest.mark.usefixtures("graphs_of_several_pairs")
def test_pairs_that_share_graphs_are_ordered_by_their_last_score_those_never_seen_last():
    state = LoopState.fresh(dataclasses.replace(make_job(Dpo(), LossRanked()), selection=KEPT), Clocks())
    state.seen.remember(np.array([3, 1, 7]), {"loss": np.array([0.2, 0.9, 0.5])})
    assert state.seen.order(np.array([1, 3, 5, 7])) == [1, 3, 0, 2]


@pytest.mark.usefixtures("graphs_of_several_pairs")
def test_a_training_through_shared_graphs_ends_as_one_in_two_passes():
    """Three epochs: from the second on, pairs are put together by what the first saw."""
    jobs = [dataclasses.replace(make_job(Dpo(), LossRanked(), steps=9, pool=8), selection=mode) for mode in (KEPT, TWO_PASS)]
    kept, two_pass = (trained_weights(job) for job in jobs)
    assert relative_difference([kept], [two_pass]) < 1e-5
