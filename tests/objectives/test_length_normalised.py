"""Losses without a reference, or on log-probs per token: worked values, arithmetic apart from prefbench, slopes, and far from home."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from prefbench.api import Objective, PairBatch
from prefbench.objectives.adaptive_margin import AlphaDpo, AMaPo
from prefbench.objectives.likelihood import Cpo, Orpo
from prefbench.objectives.ranked import Rrhf, SlicHf
from prefbench.objectives.simpo import AlphaPo, SimPo
from prefbench.testing import worked_pairs

PROMPT = torch.tensor([-9.0, -14.0, -3.5, -22.0], dtype=torch.float64)
SMOOTH = [Cpo(), Orpo(), AlphaPo(), AlphaPo(alpha=-0.5), AlphaDpo(alpha=0.0)]
EVERY = [*SMOOTH, AMaPo(), AlphaDpo(), SlicHf(), Rrhf()]


def pairs(**changes: torch.Tensor) -> PairBatch:
    """The worked pairs, with log-probs of their prompts."""
    return worked_pairs(**{"statistics": {"prompt_log_prob": PROMPT}, **changes})


def mean_log_probs() -> tuple[np.ndarray, np.ndarray]:
    """Chosen and rejected, per token, in NumPy."""
    return np.array([-12, -20, -9.5, -30]) / [6, 10, 5, 12], np.array([-15, -18, -9.0, -41]) / [5, 9, 4, 20]


def log_loss(z: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-z))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (AlphaPo(beta=2.5, gamma=0.25, alpha=0.25), [0.011811, 0.825939, 0.258596, 2.339233]),
        (Cpo(beta=0.1, nll_weight=0.0), [0.554355, 0.798139, 0.71846, 0.287335]),
        (AMaPo(beta=2.5), [0.07889, 2.77977, 0.348445, 4.342656]),
    ],
)
def test_worked_values(objective: Objective, expected: list[float]) -> None:
    assert objective.per_pair(pairs()).tolist() == pytest.approx(expected, abs=1e-6)


def test_cpo_adds_the_chosen_answers_nll_per_token() -> None:
    added = Cpo(nll_weight=0.5).per_pair(pairs()) - Cpo(nll_weight=0.0).per_pair(pairs())
    assert added.tolist() == pytest.approx([1.0, 1.0, 0.95, 1.25])


def test_slic_hf_asks_for_a_lead_of_whole_answers() -> None:
    """Leads of 3, -2, -.5 and 11 nats; and a tenth of 12, 20, 9.5 and 30."""
    assert SlicHf(margin=1.0, nll_weight=0.0).per_pair(pairs()).tolist() == [0.0, 3.0, 1.5, 0.0]
    assert SlicHf(margin=1.0, nll_weight=0.1).per_pair(pairs()).tolist() == pytest.approx([1.2, 5.0, 2.45, 3.0])


def test_rrhf_asks_that_the_chosen_answer_be_no_less_likely_per_token() -> None:
    """Per token -2, -2, -1.9 and -2.5 against -3, -2, -2.25 and -2.05: only the last pair is ranked wrongly."""
    assert Rrhf(nll_weight=0.0).per_pair(pairs()).tolist() == pytest.approx([0.0, 0.0, 0.0, 0.45])
    assert Rrhf().per_pair(pairs()).tolist() == pytest.approx([12.0, 20.0, 9.5, 30.45])


def test_orpo_is_the_nll_of_prompt_and_answer_plus_the_odds_ratio_term() -> None:
    """Of 7 + 6 tokens, 12 are predicted; the second part is the row ``orpo_term`` of the worked values."""
    nll = np.array([9 + 12, 14 + 20, 3.5 + 9.5, 22 + 30]) / [12, 16, 7, 22]
    odds_term = np.array([0.028875, 0.069315, 0.051276, 0.097542])
    assert Orpo(beta=0.1).per_pair(pairs()).numpy() == pytest.approx(nll + odds_term, abs=1e-6)


def test_orpo_of_an_answer_whose_probability_rounds_to_one() -> None:
    """log(1 - exp(0)) is -inf, and one such pair would turn the weights into NaN."""
    chosen = torch.tensor([0.0, -1e-9, -9.5, -30.0], dtype=torch.float64, requires_grad=True)
    loss = Orpo().per_pair(pairs(policy_chosen=chosen))
    (slope,) = torch.autograd.grad(loss.sum(), chosen)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("alpha", [0.0, 1e-8, -1e-8])
def test_alphapo_near_alpha_zero_is_simpo(alpha: float) -> None:
    """Written as (1 - exp(..)) / alpha, 1e-8 would leave eight of sixteen digits."""
    difference = AlphaPo(beta=2.5, gamma=0.5, alpha=alpha).per_pair(pairs()) - SimPo(beta=2.5, gamma=0.5).per_pair(pairs())
    assert difference.abs().max() < 1e-6
    bend = AlphaPo(beta=2.5, gamma=0.5, alpha=1e-8).per_pair(pairs()) - AlphaPo(beta=2.5, gamma=0.5, alpha=-1e-8).per_pair(pairs())
    assert bend[0].item() == pytest.approx(first_order_bend(1e-8), rel=1e-5)


def first_order_bend(alpha: float) -> float:
    """2 alpha times the loss's derivative in alpha at 0 for the first pair, where r(p) = p - alpha p^2 / 2."""
    chosen, rejected = -12 / 6, -15 / 5
    slope = -2.5 / (1 + np.exp(2.5 * (chosen - rejected) - 0.5))
    return float(2 * alpha * slope * (rejected**2 - chosen**2) / 2)


def test_amapo_gives_no_margin_where_nobody_lags() -> None:
    """One pair, and pairs whose equal gaps sum to a mean a rounding error above them."""
    one = PairBatch(*(value[:1] for value in vars(pairs()).values() if isinstance(value, torch.Tensor)))
    assert AMaPo().per_pair(one).item() == pytest.approx(np.log1p(np.exp(-2.5)))
    equal = torch.full((7,), -0.7, dtype=torch.float64)
    count = torch.ones(7, dtype=torch.float64)
    assert (-equal < -equal.mean()).all()
    assert AMaPo().per_pair(PairBatch(equal, 2 * equal, *[count] * 5)).tolist() == pytest.approx([np.log1p(np.exp(-1.75))] * 7)


@pytest.mark.parametrize("objective", [AMaPo(beta=2.5), AlphaDpo(beta=2.5)], ids=str)
def test_no_gradient_goes_through_a_pairs_own_margin(objective: Objective) -> None:
    """The slope of -log sigma(beta * g - m) is -beta * sigma(m - beta * g) / tokens, m held still; sigma(-z) is 1 - exp(-loss)."""
    chosen = pairs().policy_chosen.clone().requires_grad_()
    objective = copy.deepcopy(objective)
    objective.update(pairs())
    loss = objective.per_pair(pairs(policy_chosen=chosen))
    (slope,) = torch.autograd.grad(loss.sum(), chosen)
    assert slope.numpy() == pytest.approx(-2.5 * (1 - np.exp(-loss.detach().numpy())) / [6, 10, 5, 12])


def batch_of_step(step: int) -> PairBatch:
    """The worked pairs, their policy's log-probs moved by a little that differs from step to step."""
    shift = torch.tensor([0.5, -1.0, 0.25, 2.0], dtype=torch.float64) * step
    return pairs(policy_chosen=pairs().policy_chosen + shift, policy_rejected=pairs().policy_rejected - shift / 2)


def test_alpha_dpo_over_four_steps() -> None:
    """The averages start at 0 and take in a tenth of each batch before that batch uses them."""
    objective, mean, deviation = AlphaDpo(beta=2.5, gamma=1.5, alpha=0.2), 0.0, 0.0
    for step in range(4):
        objective.update(batch_of_step(step))
        shift = np.array([0.5, -1.0, 0.25, 2.0]) * step
        chosen, rejected = mean_log_probs()
        gap = chosen + shift / [6, 10, 5, 12] - rejected + shift / 2 / [5, 9, 4, 20]
        reference_gap = np.array([-13, -19, -9.9, -31.5]) / [6, 10, 5, 12] - np.array([-14.5, -18.4, -9.2, -37]) / [5, 9, 4, 20]
        ratio_gap = gap - reference_gap
        mean, deviation = 0.9 * mean + 0.1 * ratio_gap.mean(), 0.9 * deviation + 0.1 * ratio_gap.std(ddof=1)
        expected = log_loss(2.5 * (gap - (1.5 / 2.5 + 0.2 * (ratio_gap - mean) / deviation)))
        assert objective.per_pair(batch_of_step(step)).numpy() == pytest.approx(expected, abs=1e-9)


def test_alpha_dpo_before_its_first_step_is_simpo() -> None:
    """A scheduler may score a pool then; and at the first step policy and reference may agree to the last bit."""
    assert torch.equal(AlphaDpo().per_pair(pairs()), SimPo(beta=2.5, gamma=1.5).per_pair(pairs()))
    same, fresh = pairs(policy_chosen=pairs().reference_chosen, policy_rejected=pairs().reference_rejected), AlphaDpo()
    fresh.update(same)
    assert torch.equal(fresh.per_pair(same), SimPo(beta=2.5, gamma=1.5).per_pair(same))


def test_alpha_dpo_goes_on_from_its_state_and_looking_changes_nothing() -> None:
    objective = AlphaDpo()
    objective.update(batch_of_step(1))
    before = copy.deepcopy(objective.state_dict())
    loss = objective.per_pair(batch_of_step(2))
    assert torch.equal(loss, objective.per_pair(batch_of_step(2)))
    assert objective.state_dict() == before
    resumed = AlphaDpo()
    resumed.load_state_dict(before)
    assert torch.equal(resumed.per_pair(batch_of_step(2)), loss)
    assert not torch.equal(AlphaDpo().per_pair(batch_of_step(2)), loss)


@pytest.mark.parametrize("objective", SMOOTH, ids=str)
def test_gradient_is_the_slope(objective: Objective) -> None:
    """Central differences; a margin that lets no gradient through has another slope by design, and a test of its own."""

    def loss(chosen: torch.Tensor, rejected: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        return objective.per_pair(pairs(policy_chosen=chosen, policy_rejected=rejected, statistics={"prompt_log_prob": prompt}))

    leaves = [value.clone().requires_grad_() for value in (pairs().policy_chosen, pairs().policy_rejected, PROMPT)]
    assert torch.autograd.gradcheck(loss, leaves, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("objective", EVERY, ids=str)
def test_finite_to_the_edge_of_the_domain(objective: Objective, sign: int) -> None:
    """Half of the pairs move one way and half the other, and the averages have seen them."""
    ways = sign * objective.domain * torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    leaves = [(pairs().policy_chosen + ways).requires_grad_(), (pairs().policy_rejected - ways).requires_grad_()]
    batch = pairs(policy_chosen=leaves[0], policy_rejected=leaves[1])
    objective = copy.deepcopy(objective)
    objective.update(batch)
    loss = objective.per_pair(batch)
    slopes = torch.autograd.grad(loss.sum(), leaves)
    assert all(torch.isfinite(values).all() for values in (loss, *slopes))


def test_reference_free_means_no_reference() -> None:
    nothing = pairs(reference_chosen=torch.zeros(4, dtype=torch.float64), reference_rejected=torch.zeros(4, dtype=torch.float64))
    for objective in (Cpo(), Orpo(), AlphaPo(), AMaPo()):
        assert objective.reference_free
        assert torch.equal(objective.per_pair(nothing), objective.per_pair(pairs()))
    moving = AlphaDpo()
    moving.update(pairs())
    assert not moving.reference_free
    assert not torch.equal(moving.per_pair(nothing), moving.per_pair(pairs()))
