"""apo-hinge-zero: its worked values, where its gradient stops, and that prefbench finds it."""

from __future__ import annotations

import pytest
import torch
from prefbench_margin import ApoHingeZero

from prefbench.api import PairBatch
from prefbench.registry import build, load_registry


def batch(chosen_log_ratio: list[float], rejected_log_ratio: list[float]) -> PairBatch:
    """Pairs with these log-ratios; the reference gives every answer log-prob -20."""
    reference = torch.full((len(chosen_log_ratio),), -20.0, dtype=torch.float64)
    ratios = [torch.tensor(values, dtype=torch.float64) for values in (chosen_log_ratio, rejected_log_ratio)]
    chosen, rejected = ((reference + ratio).requires_grad_() for ratio in ratios)
    tokens = torch.full_like(reference, 10.0)
    return PairBatch(chosen, rejected, reference, reference, tokens, tokens, tokens)


def test_worked_values() -> None:
    """Two sums per pair, by hand: (1 - .1 r_w) + (1 + .1 r_l)."""
    pairs = batch([1.0, -1.0, 0.4, 1.5], [-0.5, 0.4, 0.2, -4.0])
    assert ApoHingeZero().per_pair(pairs).tolist() == pytest.approx([1.85, 2.14, 1.98, 1.45], abs=1e-6)


def test_each_side_lets_go_on_its_own() -> None:
    """Ten nats at the defaults: the first pair trains both sides, the second only the rejected one, the third none."""
    pairs = batch([0.0, 10.5, 30.0], [0.0, 0.0, -30.0])
    ApoHingeZero().per_pair(pairs).sum().backward()
    assert pairs.policy_chosen.grad is not None
    assert pairs.policy_rejected.grad is not None
    assert pairs.policy_chosen.grad.tolist() == pytest.approx([-0.1, 0.0, 0.0])
    assert pairs.policy_rejected.grad.tolist() == pytest.approx([0.1, 0.1, 0.0])


def test_the_margin_sets_how_far() -> None:
    """With margin 2 and beta .5 a side lets go at 4 nats."""
    loss = ApoHingeZero(beta=0.5, margin=2.0).per_pair(batch([3.9, 4.0], [-4.0, -4.0]))
    assert loss.tolist() == pytest.approx([0.05, 0.0], abs=1e-9)


@pytest.mark.parametrize("ratio", [-1e4, 1e4])
def test_finite_far_out(ratio: float) -> None:
    """A run that goes astray is reported with numbers, not with NaN."""
    pairs = batch([ratio], [-ratio])
    loss = ApoHingeZero().per_pair(pairs)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(torch.stack([pairs.policy_chosen.grad, pairs.policy_rejected.grad])).all()  # type: ignore[list-item]


def test_prefbench_finds_it_installed() -> None:
    """The entry point of the installed distribution, options checked on the way."""
    registry = load_registry()
    assert registry.get("objective", "apo-hinge-zero") is ApoHingeZero
    assert registry.origin("objective", "apo-hinge-zero").distribution == "prefbench-margin"
    assert build(registry.get("objective", "apo-hinge-zero"), {"margin": 2}).options() == {"beta": 0.1, "margin": 2.0}
