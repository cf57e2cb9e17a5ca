"""MADPO: its weights and losses against worked values, its ablations, and margins far out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from prefbench_madpo import Madpo

from prefbench.testing import worked_pairs

TAU = math.log(999.0)
MARGINS = (0.5, -1.0, 3.0, 9.0)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def weights(objective: Madpo, *margins: float) -> list[float]:
    return objective.weights(tensor(*margins)).tolist()


@pytest.mark.parametrize(
    ("c_max", "coefficients", "expected_weights", "losses"),
    [
        (2, [1.995065, 1.991881, 1.942015, 0.587096], [1.173688, 0.446409, 1.0467, 0.995076], [0.72881, 0.341769, 0.715102, 0.453249]),
        (4, [3.975407, 3.959624, 3.720864, 0.362125], [1.412944, 0.069582, 1.049772, 0.963119], [0.877377, 0.053271, 0.717201, 0.438693]),
    ],
)
def test_worked_values(c_max: float, coefficients: list[float], expected_weights: list[float], losses: list[float]) -> None:
    objective = Madpo(c_max=c_max)
    pairs = worked_pairs(columns={"reward-margin": tensor(*MARGINS)})
    assert objective.coefficients(tensor(*MARGINS)).tolist() == pytest.approx(coefficients, abs=1e-6)
    assert weights(objective, *MARGINS) == pytest.approx(expected_weights, abs=1e-6)
    assert objective.per_pair(pairs).tolist() == pytest.approx(losses, abs=1e-6)


def test_hard_pairs_count_for_more_and_doubtful_ones_for_next_to_nothing() -> None:
    """At the defaults, c_max = 4: seven weights of the curve, and that the amplification nowhere passes 1.42."""
    expected = {0.5: 1.413, 1: 1.342, 2: 1.135, 5: 1.007, 10: 0.949, -0.5: 0.319, -1: 0.070}
    assert weights(Madpo(), *expected) == pytest.approx(list(expected.values()), abs=6e-4)
    assert weights(Madpo(), -2.0) == pytest.approx([0.0035], abs=5e-5)
    assert max(weights(Madpo(), *np.arange(-12.0, 12.0, 0.01))) == pytest.approx(1.418, abs=1e-3)


@pytest.mark.parametrize("objective", [Madpo(), Madpo(c_max=2.0, c_min=0.2, tau=2.0, steepness=3.0)], ids=str)
def test_at_tau_the_weight_is_one_and_below_minus_tau_it_stays_one(objective: Madpo) -> None:
    """Just above -tau it is as near 1 as it gets: no jump. What the reward model holds to be quite wrong is not blown up."""
    tau = objective.tau
    assert objective.coefficients(tensor(tau, -tau)).tolist() == pytest.approx([1.0, 1.0], abs=1e-12)
    assert weights(objective, tau, -tau, -tau - 1e-9, -tau - 5.0, -1e4) == pytest.approx(5 * [1.0], abs=1e-12)
    assert weights(objective, -tau + 1e-7) == pytest.approx([1.0], abs=1e-5)


def test_c_min_is_one_over_c_max_unless_given() -> None:
    assert weights(Madpo(c_max=3.0), *MARGINS) == weights(Madpo(c_max=3.0, c_min=1 / 3.0), *MARGINS)
    assert Madpo(c_max=3.0, c_min=0.0).coefficients(tensor(50.0)).item() == pytest.approx(0.0, abs=1e-12)


def test_the_ablations_keep_one_side_each() -> None:
    """c above 1 amplifies (and hides pairs with a margin below 0), c below 1 regularises; the other side is DPO, weight 1."""
    full, amplified, regularised = (weights(Madpo(variant=variant), *MARGINS) for variant in ("full", "amp-only", "reg-only"))
    assert amplified == [*full[:3], 1.0]
    assert regularised == [1.0, 1.0, 1.0, full[3]]


def test_the_column_is_an_option() -> None:
    assert Madpo().needs == ("reward-margin",)
    objective = Madpo(column="noisy")
    assert objective.needs == ("noisy",)
    noisy = objective.per_pair(worked_pairs(columns={"noisy": tensor(*MARGINS)}))
    assert noisy.tolist() == Madpo().per_pair(worked_pairs(columns={"reward-margin": tensor(*MARGINS)})).tolist()


@pytest.mark.parametrize("variant", ["full", "amp-only", "reg-only"])
def test_weights_far_out(variant: str) -> None:
    """e^(1e4) is no float64, and sigma(-1e4) is 0: the naive quotient would be NaN."""
    far = weights(Madpo(variant=variant, steepness=10.0), 1e4, -1e4, 0.0, 40.0)
    assert far == pytest.approx([1.0, 1.0, 1.0, far[3]])
    assert 0.9 < far[3] <= 1.0


@pytest.mark.parametrize("gap", [-1e4, 1e4])
def test_finite_far_out(gap: float) -> None:
    """Loss and gradient of a run that goes astray."""
    policy = (worked_pairs().reference_chosen + gap).requires_grad_()
    loss = Madpo().per_pair(worked_pairs(policy_chosen=policy, columns={"reward-margin": tensor(*MARGINS)}))
    loss.sum().backward()
    assert policy.grad is not None
    assert torch.isfinite(torch.cat([loss, policy.grad])).all()
