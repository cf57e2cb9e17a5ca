"""AMS: worked values, where its gradient stops and its minimum lies, the ramp of delta, the soft cut."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from prefbench_margin import Ams

from prefbench.api import PairBatch
from prefbench.testing import worked_pairs


def at(z: list[float], beta: float = 0.1) -> PairBatch:
    """Pairs whose beta * margin is z; the reference gives every answer log-prob -20."""
    reference = torch.full((len(z),), -20.0, dtype=torch.float64)
    chosen = (reference + torch.tensor(z, dtype=torch.float64) / beta).requires_grad_()
    tokens = torch.full_like(reference, 10.0)
    return PairBatch(chosen, reference.clone().requires_grad_(), reference, reference, tokens, tokens, tokens)


def slope(objective: Ams, z: list[float]) -> list[float]:
    """dL/dz of each pair: the gradient in the chosen log-prob, over beta."""
    pairs = at(z)
    objective.per_pair(pairs).sum().backward()
    assert pairs.policy_chosen.grad is not None
    return (pairs.policy_chosen.grad / objective.beta).tolist()


def sigma(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize(
    ("delta", "epsilon", "expected"),
    [
        (0.3, 0.1, [0.335957, 0.451595, 0.385197, 0.210492]),
        (0.6, 0.1, [0.035957, 0.151595, 0.085197, 0.040549]),
        (0.6, 0.0, [0.020957, 0.165595, 0.083197, 0.0]),
    ],
)
def test_worked_values(delta: float, epsilon: float, expected: list[float]) -> None:
    loss = Ams(delta=delta, epsilon=epsilon).per_pair(worked_pairs())
    assert loss.tolist() == pytest.approx(expected, abs=1e-6)


def test_without_delta_it_is_conservative_dpo() -> None:
    z = 0.1 * np.array([1.5, -1.4, 0.2, 5.5])
    expected = 0.9 * np.log1p(np.exp(-z)) + 0.1 * np.log1p(np.exp(z))
    assert Ams(delta=0.0, epsilon=0.1).per_pair(worked_pairs()).tolist() == pytest.approx(expected.tolist(), abs=1e-12)


@pytest.mark.parametrize("delta", [0.1, 0.3133, 0.6])
def test_no_gradient_beyond_the_kink_and_some_below(delta: float) -> None:
    kink = -math.log(math.expm1(delta))
    below, beyond, far = slope(Ams(delta=delta, epsilon=0.0), [kink - 1e-6, kink + 1e-6, kink + 20.0])
    assert below == pytest.approx(-sigma(-kink), abs=1e-6)
    assert (beyond, far) == (0.0, 0.0)


def test_the_default_delta_lets_go_at_one() -> None:
    """log(1 + 1/e) = .31326 to five digits, rounded to .3133."""
    assert slope(Ams(epsilon=0.0), [0.9995, 1.0])[1] == 0.0
    assert slope(Ams(epsilon=0.0), [0.9995])[0] < -0.2


@pytest.mark.parametrize(("epsilon", "least_at"), [(0.05, 1.0), (0.1, 1.0), (0.26, 1.0), (0.3, math.log(0.7 / 0.3))])
def test_the_minimum_is_the_kink_as_long_as_epsilon_is_less_than_sigma_there(epsilon: float, least_at: float) -> None:
    """sigma(-1) = .269; with more smoothing than that conservative DPO's optimum comes first."""
    z = np.arange(-3.0, 5.0, 0.001)
    losses = Ams(delta=math.log1p(math.exp(-1)), epsilon=epsilon).per_pair(at(z.tolist()))
    assert z[int(losses.argmin())] == pytest.approx(least_at, abs=2e-3)


def test_beyond_the_kink_smoothing_pulls_back() -> None:
    """dL/dz = epsilon sigma(z) there: the other term is gone."""
    assert slope(Ams(epsilon=0.1), [2.0]) == pytest.approx([0.1 * sigma(2.0)])


def test_the_largest_delta_still_trains_an_untrained_policy() -> None:
    """From log 2 on neither term would; the option's bound keeps below it."""
    bound = next(field.metadata["high"] for field in dataclasses.fields(Ams) if field.name == "delta")
    assert bound < math.log(2)
    assert slope(Ams(delta=bound), [0.0]) == pytest.approx([-0.9 / 2 + 0.1 / 2])
    assert slope(Ams(delta=math.log(2) + 1e-9), [0.0]) == [0.0]


@pytest.mark.parametrize(("progress", "delta"), [(0.0, 0.0), (0.125, 0.15), (0.25, 0.3), (1.0, 0.3)])
def test_a_linear_delta_grows_over_the_ramp_and_stays(progress: float, delta: float) -> None:
    ramped = Ams(delta=0.3, delta_schedule="linear", ramp=0.25).per_pair(worked_pairs(progress=progress))
    assert ramped.tolist() == pytest.approx(Ams(delta=delta).per_pair(worked_pairs()).tolist(), abs=1e-12)


def test_the_soft_cut() -> None:
    """t log(1 + e^(x / t)) for x = loss - delta, of either term; more than the hard cut, and never without gradient."""
    z, t = 0.1 * np.array([1.5, -1.4, 0.2, 5.5]), 0.2
    soft = [t * np.log1p(np.exp((np.log1p(np.exp(sign * z)) - 0.5) / t)) for sign in (-1, 1)]
    objective = Ams(delta=0.5, cut="softplus", temperature=t)
    assert objective.per_pair(worked_pairs()).tolist() == pytest.approx((0.9 * soft[0] + 0.1 * soft[1]).tolist(), abs=1e-12)
    assert (objective.per_pair(worked_pairs()) > Ams(delta=0.5).per_pair(worked_pairs())).all()
    assert slope(dataclasses.replace(objective, epsilon=0.0), [3.0])[0] < 0


def test_a_cold_soft_cut_is_the_hard_one() -> None:
    cold = Ams(cut="softplus", temperature=1e-3).per_pair(worked_pairs())
    assert cold.tolist() == pytest.approx(Ams().per_pair(worked_pairs()).tolist(), abs=1e-6)


def test_the_share_of_pairs_that_are_won_goes_into_the_log() -> None:
    """One of four is beyond the kink at 1; at the start of a linear delta none can be."""
    for schedule, share in (("constant", 0.25), ("linear", 0.0)):
        objective = Ams(delta_schedule=schedule)
        objective.update(at([-1.0, 0.0, 0.9, 1.1]))
        assert objective.diagnostics() == {"won": share}


@pytest.mark.parametrize("cut", ["relu", "softplus"])
@pytest.mark.parametrize("z", [-1e3, 1e3])
def test_finite_far_out(cut: str, z: float) -> None:
    """Ten thousand nats at beta = .1."""
    pairs = at([z])
    loss = Ams(cut=cut).per_pair(pairs)
    loss.sum().backward()
    assert pairs.policy_chosen.grad is not None
    assert torch.isfinite(torch.cat([loss, pairs.policy_chosen.grad])).all()
