"""The anchored hinges: worked values, where a side lets go, the two readings of beta, and the shares by length."""

from __future__ import annotations

import math

import pytest
import torch
from prefbench_margin import ApoHingeSoftplus, ApoHingeZero

from prefbench.api import Objective, PairBatch
from prefbench.testing import worked_pairs


def batch(chosen_log_ratio: list[float], rejected_log_ratio: list[float]) -> PairBatch:
    """Pairs with these log-ratios; the reference gives every answer log-prob -20."""
    reference = torch.full((len(chosen_log_ratio),), -20.0, dtype=torch.float64)
    ratios = [torch.tensor(values, dtype=torch.float64) for values in (chosen_log_ratio, rejected_log_ratio)]
    chosen, rejected = ((reference + ratio).requires_grad_() for ratio in ratios)
    tokens = torch.full_like(reference, 10.0)
    return PairBatch(chosen, rejected, reference, reference, tokens, tokens, tokens)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (ApoHingeZero(), [1.85, 2.14, 1.98, 1.45]),
        (ApoHingeSoftplus(), [2.51811, 2.729996, 2.6121, 2.243353]),
        (ApoHingeZero(double_beta=True), [1.985, 2.014, 1.998, 1.945]),  # beta^2 = .01 times the margins 1.5, -1.4, .2, 5.5, off 2
    ],
    ids=str,
)
def test_worked_values(objective: Objective, expected: list[float]) -> None:
    assert objective.per_pair(worked_pairs()).tolist() == pytest.approx(expected, abs=1e-6)


def test_each_side_lets_go_on_its_own() -> None:
    """Ten nats at the defaults: the first pair trains both sides, the second only the rejected one, the third none."""
    pairs = batch([0.0, 10.5, 30.0], [0.0, 0.0, -30.0])
    ApoHingeZero().per_pair(pairs).sum().backward()
    assert pairs.policy_chosen.grad is not None
    assert pairs.policy_rejected.grad is not None
    assert pairs.policy_chosen.grad.tolist() == pytest.approx([-0.1, 0.0, 0.0])
    assert pairs.policy_rejected.grad.tolist() == pytest.approx([0.1, 0.1, 0.0])


def test_the_margin_sets_how_far() -> None:
    """With margin 2 and beta .5 a side lets go at 4 nats; with beta in r as well, at 8."""
    pairs = batch([3.9, 4.0, 8.0], [-4.0, -4.0, -7.6])
    assert ApoHingeZero(beta=0.5, margin=2.0).per_pair(pairs).tolist() == pytest.approx([0.05, 0.0, 0.0], abs=1e-9)
    twice = ApoHingeZero(beta=0.5, margin=2.0, double_beta=True).per_pair(pairs)
    assert twice.tolist() == pytest.approx([1.025 + 1.0, 1.0 + 1.0, 0.1], abs=1e-9)


@pytest.mark.parametrize("double_beta", [False, True])
def test_the_soft_corner_lies_above_the_hard_one_by_at_most_log_two_a_side(double_beta: bool) -> None:
    nats = torch.linspace(-250, 250, 101, dtype=torch.float64)
    chosen, rejected = torch.meshgrid(nats, nats, indexing="ij")
    pairs = batch(chosen.flatten().tolist(), rejected.flatten().tolist())
    gap = ApoHingeSoftplus(double_beta=double_beta).per_pair(pairs) - ApoHingeZero(double_beta=double_beta).per_pair(pairs)
    assert gap.min() > 0
    assert gap.max() <= 2 * math.log(2) + 1e-12


@pytest.mark.parametrize("objective", [ApoHingeZero(), ApoHingeSoftplus()], ids=str)
@pytest.mark.parametrize("ratio", [-1e4, 1e4])
def test_finite_far_out(objective: Objective, ratio: float) -> None:
    """A run that goes astray is reported with numbers, not with NaN."""
    pairs = batch([ratio], [-ratio])
    loss = objective.per_pair(pairs)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(torch.stack([pairs.policy_chosen.grad, pairs.policy_rejected.grad])).all()  # type: ignore[list-item]
