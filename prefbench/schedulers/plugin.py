"""Registers the built-in schedulers."""

from __future__ import annotations

from prefbench.api import Scheduler, hookimpl
from prefbench.schedulers.curriculum import Curriculum
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.schedulers.margin_filter import MarginFilter
from prefbench.schedulers.online_batch import OnlineBatch
from prefbench.schedulers.random_subset import RandomSubset
from prefbench.schedulers.rho_loss import RhoLoss
from prefbench.schedulers.selective import Selective
from prefbench.schedulers.uniform import Uniform


@hookimpl
def prefbench_schedulers() -> list[type[Scheduler]]:
    """The built-in schedulers."""
    return [Uniform, RandomSubset, LossRanked, Curriculum, Selective, MarginFilter, RhoLoss, OnlineBatch]
