"""Losses that the core gave when its numerics version was last raised: who changes them raises it again."""

from __future__ import annotations

import pytest

from prefbench.identity import CORE_NUMERICS_VERSION
from prefbench.objectives.dpo import Dpo
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.schedulers.uniform import Uniform
from prefbench.train.loop import train
from prefbench.train.meter import Clocks
from tests.train.test_loop import make_job

GOLDEN = {
    2: {
        "uniform": [1.69577, 2.96292, 1.80927, 1.30847, 1.95283, 1.39489],
        "loss-ranked": [2.78835, 5.37241, 3.42471, 2.29982, 3.50087, 2.43527],
    }
}


@pytest.mark.parametrize("scheduler", [Uniform(), LossRanked()], ids=lambda one: one.name)
def test_a_training_has_the_losses_of_its_numerics_version(scheduler):
    log = train(make_job(Dpo(), scheduler), Clocks())
    assert [row["loss"] for row in log.rows] == pytest.approx(GOLDEN[CORE_NUMERICS_VERSION][scheduler.name], rel=1e-4)
