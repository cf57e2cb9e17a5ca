"""A small workload and trainings of it."""

from __future__ import annotations

import pytest

from benchmarks.trl.plan import Plan
from benchmarks.trl.sides import Training, Workload


@pytest.fixture(scope="session")
def plan(tmp_path_factory) -> Plan:
    return Plan(tmp_path_factory.mktemp("benchmarks-trl"), threads=1)


@pytest.fixture(scope="session")
def workload(plan) -> Workload:
    """The smallest model and 16 pairs: eight steps of two."""
    return plan.workload("xs", "mild", 16)


@pytest.fixture
def training(plan, workload) -> Training:
    return plan.training(workload, steps=8, batch=2)
