"""Every objective that is installed trains a policy through the shared core, with the statistics and columns that it asks for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from prefbench.registry import load_registry
from prefbench.train.forward import make_scorer
from prefbench.train.job import TrainJob
from prefbench.train.loop import train
from prefbench.train.meter import Clocks
from tests.models import tiny_llama
from tests.train.test_loop import make_job

REGISTRY = load_registry()


def job_with(name: str) -> TrainJob:
    """Steps small enough for losses that start at half a million; columns of the size of score gaps."""
    objective = REGISTRY.get("objective", name)()
    job = make_job(objective, learning_rate=1e-3)
    columns = {column: np.random.default_rng(2).normal(1.0, 2.0, len(job.data)) for column in objective.needs}
    data = dataclasses.replace(job.data, columns=columns)
    return dataclasses.replace(job, data=data, reference=make_scorer(tiny_llama(seed=3), "float32"))


@pytest.mark.parametrize("name", REGISTRY.names("objective"))
def test_it_trains(name: str) -> None:
    job = job_with(name)
    before = [parameter.clone() for parameter in job.scorer.model.parameters()]
    log = train(job, Clocks())
    assert [row["step"] for row in log.rows] == list(range(6))
    assert any(not torch.equal(old, new) for old, new in zip(before, job.scorer.model.parameters(), strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in job.scorer.model.parameters())
    assert all(np.isfinite(list(job.objective.diagnostics().values())))
