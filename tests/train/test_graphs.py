"""Backward of the chosen pairs alone, through the graphs of the scoring: the gradients of a forward of their own."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from prefbench.objectives.dpo import Dpo
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.schedulers.online_batch import OnlineBatch
from prefbench.train import graphs as module
from prefbench.train.graphs import narrowed
from prefbench.train.job import KEPT, TWO_PASS, TrainJob
from prefbench.train.loop import accumulate_gradients, train
from prefbench.train.meter import Clocks
from prefbench.train.selection import Keep, pool_statistics
from prefbench.train.state import trainable
from tests.train.test_loop import SortedMargins, make_job, relative_difference, trained_weights

POOL = np.array([3, 17, 5, 0, 11, 20, 8, 2])
CHOSEN = np.array([6, 1, 4])


def gradients(job: TrainJob, graphs: list[module.Graph] | None = None) -> list[torch.Tensor]:
    job.scorer.model.zero_grad(set_to_none=True)
    accumulate_gradients(job, POOL[CHOSEN], 0, graphs)
    return [weight.grad.clone() for weight in trainable(job.scorer.model)]


@pytest.mark.parametrize("objective", [Dpo(), SortedMargins()], ids=["by pair", "coupled"])
@pytest.mark.parametrize("tokens", [1, 90, 10_000], ids=["a graph per pair", "graphs of some", "one graph"])
def test_gradients_through_kept_graphs_are_those_of_a_forward_of_the_chosen(monkeypatch, objective, tokens):
    monkeypatch.setattr("prefbench.train.selection.kept_tokens", lambda job: tokens)
    job = make_job(objective, LossRanked())
    statistics, graphs = pool_statistics(job, POOL, 0, Keep())
    assert (len(graphs) == len(POOL)) == (tokens == 1)
    kept = gradients(job, narrowed(graphs, CHOSEN, len(POOL)))
    assert relative_difference(kept, gradients(job)) < 1e-6
    assert statistics["loss"] == pytest.approx(pool_statistics(job, POOL, 0)[0]["loss"])


def test_pairs_of_like_score_are_put_together_in_the_order_that_is_given(monkeypatch):
    """So that on a GPU the chosen pairs share graphs, and the backward is of few others."""
    monkeypatch.setattr("prefbench.train.selection.kept_tokens", lambda job: 90)
    job, order = make_job(Dpo(), LossRanked()), [6, 1, 4, 0, 2, 3, 5, 7]
    _, graphs = pool_statistics(job, POOL, 0, Keep(order))
    together = [sorted(row for row in graph.rows if row < len(POOL)) for graph in graphs]
    starts = np.cumsum([0, *map(len, together)])
    assert together == [sorted(order[start:end]) for start, end in itertools.pairwise(starts)]
    assert len(narrowed(graphs, CHOSEN, len(POOL))) < len(graphs)


def test_graphs_of_pairs_that_were_not_chosen_are_let_go():
    job = make_job(Dpo(), LossRanked())
    _, graphs = pool_statistics(job, POOL, 0, Keep())
    left = narrowed(graphs, CHOSEN, len(POOL))
    assert sorted(row for graph in left for row in graph.rows) == list(range(6))
    assert len(left) == len(CHOSEN)


@pytest.mark.parametrize("scheduler", [LossRanked, OnlineBatch])
def test_a_whole_training_ends_with_the_same_weights_either_way(scheduler):
    jobs = [dataclasses.replace(make_job(Dpo(), scheduler()), selection=mode) for mode in (TWO_PASS, KEPT)]
    before = trained_weights(dataclasses.replace(jobs[0], rules=dataclasses.replace(jobs[0].rules, learning_rate=0.0), learning_rate=0.0))
    two_pass, kept = (trained_weights(job) for job in jobs)
    assert (kept - two_pass).norm() < 1e-5 * (two_pass - before).norm()


def test_kept_graphs_save_a_forward_of_the_chosen():
    """Of the body of the model: n pairs once, where two passes see n and then K."""

    def pairs_seen(mode: str) -> int:
        job = dataclasses.replace(make_job(Dpo(), LossRanked()), selection=mode)
        prompts: list[int] = []
        handle = job.scorer.model.base_model.register_forward_pre_hook(
            lambda _module, _arguments, named: prompts.append(int(named["packing"].family.max() + 1)), with_kwargs=True
        )
        log = train(job, Clocks())
        handle.remove()
        assert log.pairs_forward == sum(prompts)
        return log.pairs_forward

    job = make_job(Dpo(), LossRanked())
    steps, pool = job.rules.steps, job.rules.pool
    assert pairs_seen(KEPT) == steps * pool
    assert pairs_seen(TWO_PASS) == steps * (pool + pool // 2)
