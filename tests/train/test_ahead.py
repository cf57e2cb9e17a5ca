"""Micro-batches that a thread puts together one step ahead are those of the step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.objectives.dpo import Dpo
from prefbench.train import loop
from prefbench.train.ahead import Ahead
from prefbench.train.job import TrainJob, pair_micro_batches
from prefbench.train.layout import MicroBatch
from tests.train.test_loop import make_job, trained_weights

IDS = np.array([3, 17, 5, 0])


def test_what_was_begun_is_taken_and_what_was_not_is_made():
    job = make_job(Dpo())
    ahead = Ahead(job, threaded=True)
    ahead.begin(IDS)
    for ids in (IDS, IDS[::-1]):
        for found, expected in zip(ahead.take(ids), pair_micro_batches(job, ids), strict=True):
            assert torch.equal(found.tokens, expected.tokens)
            assert found.spans == expected.spans


def test_a_failure_of_the_thread_is_told_when_its_work_is_due():
    ahead = Ahead(make_job(Dpo()), threaded=True)
    ahead.begin(np.array([10_000]))
    with pytest.raises(IndexError):
        ahead.take(np.array([10_000]))


def test_a_training_with_the_thread_is_the_training_without_and_takes_every_pool_but_the_first_from_it(monkeypatch):
    plain, taken = trained_weights(make_job(Dpo())), []

    class Watched(Ahead):
        def __init__(self, job: TrainJob) -> None:
            super().__init__(job, threaded=True)

        def take(self, ids: np.ndarray) -> list[MicroBatch]:
            taken.append(self._next is not None and np.array_equal(self._next[0], ids))
            return super().take(ids)

    monkeypatch.setattr(loop, "Ahead", Watched)
    assert torch.equal(trained_weights(make_job(Dpo())), plain)
    assert taken == [False, True, True, True, True, True]
