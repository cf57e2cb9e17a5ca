"""R-DPO and DPO-Shift: the direction of each shift, and when it moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.objectives.shifted import DpoShift, RDpo
from tests.objectives.told_pairs import tensor, told_pairs

CHOSEN, REJECTED = np.array([1.0, -1.0, 0.4, 1.5]), np.array([-0.5, 0.4, 0.2, -4.0])


def test_r_dpo_trains_less_where_the_chosen_answer_is_longer() -> None:
    """The sign that two later repositories turned round."""
    margin = told_pairs().margin
    pairs = told_pairs(chosen_tokens=tensor(9, 5, 5, 5), rejected_tokens=tensor(5, 9, 5, 5))
    expected = np.log1p(np.exp(-(0.1 * margin.numpy() + 0.5 * np.array([4.0, -4.0, 0.0, 0.0]))))
    assert RDpo(beta=0.1, alpha=0.5).per_pair(pairs).numpy() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "progress", "factor"),
    [
        ("fixed", 0.0, 0.6),
        ("fixed", 0.75, 0.6),
        ("increasing", 0.0, 0.6),
        ("increasing", 0.75, 0.9),
        ("increasing", 1.0, 1.0),
        ("decreasing", 0.0, 1.0),
        ("decreasing", 0.75, 0.7),
        ("decreasing", 1.0, 0.6),
    ],
)
def test_dpo_shift_factor_over_training(schedule: str, progress: float, factor: float) -> None:
    loss = DpoShift(beta=0.1, f=0.6, schedule=schedule).per_pair(told_pairs(progress=progress))
    assert loss.numpy() == pytest.approx(np.log1p(np.exp(-0.1 * (CHOSEN - factor * REJECTED))), abs=1e-12)


def test_dpo_shift_holds_the_chosen_answer_more_than_the_rejected() -> None:
    chosen, rejected = told_pairs().policy_chosen.clone().requires_grad_(), told_pairs().policy_rejected.clone().requires_grad_()
    loss = DpoShift(f=0.5).per_pair(told_pairs(policy_chosen=chosen, policy_rejected=rejected)).sum()
    up, down = torch.autograd.grad(loss, [chosen, rejected])
    torch.testing.assert_close(down, -0.5 * up)
