"""Built-in objectives against values worked out apart from prefbench, against finite differences, and far from home."""

from __future__ import annotations

import math

import pytest
import torch

from prefbench.api import Objective, PairBatch
from prefbench.objectives.apo import ApoDown, ApoZero
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.hinge import Hinge
from prefbench.objectives.ipo import Ipo
from prefbench.objectives.simpo import SimPo
from prefbench.testing import worked_pairs

EVERY = [Dpo(), Dpo(label_smoothing=0.1), Ipo(), Ipo(length_normalised=False), Hinge(), ApoZero(), ApoDown(), SimPo()]
LEAVES = ("policy_chosen", "policy_rejected")


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Dpo(beta=0.1), [0.620957, 0.765595, 0.683197, 0.455492]),
        (Dpo(beta=0.1, label_smoothing=0.1), [0.635957, 0.751595, 0.685197, 0.510492]),
        (Ipo(beta=0.1, length_normalised=False), [12.25, 40.96, 23.04, 0.25]),
        (Ipo(beta=0.1), [22.404444, 26.465309, 24.7009, 21.855625]),
        (Hinge(beta=0.1), [0.85, 1.14, 0.98, 0.45]),
        (ApoZero(beta=0.1), [0.962523, 1.034978, 0.995001, 0.863882]),
        (ApoDown(beta=0.1), [0.987549, 1.009964, 1.004999, 0.903294]),
        (SimPo(beta=2.5, gamma=1.25), [0.251929, 1.501929, 0.898123, 2.463939]),
    ],
)
def test_worked_values(objective: Objective, expected: list[float]) -> None:
    loss = objective.per_pair(worked_pairs())
    assert loss.dtype == torch.float64
    assert loss.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("objective", EVERY, ids=str)
def test_gradient_is_the_slope(objective: Objective) -> None:
    """Central differences of the summed loss in each log-prob; a pair that moved another pair's loss would show here as well."""
    leaves = [getattr(worked_pairs(), name).clone().requires_grad_() for name in LEAVES]
    assert torch.autograd.gradcheck(lambda *policy: objective.per_pair(with_policy(*policy)), leaves, eps=1e-6, atol=1e-7)


def with_policy(chosen: torch.Tensor, rejected: torch.Tensor) -> PairBatch:
    return worked_pairs(policy_chosen=chosen, policy_rejected=rejected)


@pytest.mark.parametrize("objective", EVERY, ids=str)
@pytest.mark.parametrize("distance", [1e4, -1e4])
def test_finite_far_out(objective: Objective, distance: float) -> None:
    """A diverging run is to be reported with its loss, and its gradient must not turn the weights into NaN."""
    chosen, rejected = (
        (worked_pairs().policy_chosen + distance).requires_grad_(),
        (worked_pairs().policy_rejected - distance).requires_grad_(),
    )
    loss = objective.per_pair(with_policy(chosen, rejected))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert torch.isfinite(chosen.grad).all()
    assert torch.isfinite(rejected.grad).all()


def test_reference_free_means_no_reference() -> None:
    """An objective that says so gives the same loss without a reference; every other one does not."""
    nothing = worked_pairs(reference_chosen=tensor(0, 0, 0, 0), reference_rejected=tensor(0, 0, 0, 0))
    for objective in EVERY:
        same = torch.equal(objective.per_pair(nothing), objective.per_pair(worked_pairs()))
        assert same == objective.reference_free, objective


def test_smoothed_dpo_is_least_where_it_says() -> None:
    """At beta * margin = log((1 - eps) / eps): the point where smoothing stops pushing."""
    best = math.log(0.9 / 0.1) / 0.1
    reference = tensor(-20.0, -20.0, -20.0)
    batch = PairBatch(reference + tensor(best - 1, best, best + 1), reference, reference, reference, reference, reference, reference)
    below, least, above = Dpo(beta=0.1, label_smoothing=0.1).per_pair(batch).tolist()
    assert least < min(below, above)


def test_hinge_lets_go_at_its_target() -> None:
    reference = tensor(-20.0, -20.0)
    chosen = (reference + tensor(9.9, 10.1)).requires_grad_()
    Hinge(beta=0.1).per_pair(PairBatch(chosen, *[reference] * 6)).sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.tolist() == pytest.approx([-0.1, 0.0])
