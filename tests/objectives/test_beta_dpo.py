"""beta-DPO in its three readings: worked values, arithmetic apart from prefbench over several steps, the draw, and its state."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from prefbench.api import PairBatch
from prefbench.objectives.beta_dpo import CONVENTIONS, BetaDpo
from prefbench.testing import worked_pairs

READINGS = sorted(CONVENTIONS)


def batch_with_margins(margins: np.ndarray, seed: int = 0) -> PairBatch:
    nothing = torch.zeros(len(margins), dtype=torch.float64)
    return PairBatch(torch.tensor(margins, dtype=torch.float64), *[nothing] * 3, *[nothing + 5] * 3, seed=seed)


def test_worked_values() -> None:
    """The first step, every pair kept: the averages have taken in a tenth of the batch, and beta is .1783."""
    objective = BetaDpo(beta=0.1, alpha=0.6, dropped=0.0)
    objective.update(worked_pairs())
    assert (objective.gap_mean, objective.gap_deviation) == pytest.approx((0.145, 0.2949011133696626))
    assert objective.diagnostics() == pytest.approx({"batch_beta": 0.1783})
    assert objective.per_pair(worked_pairs()).tolist() == pytest.approx([0.568337, 0.825726, 0.675476, 0.318503], abs=1e-6)


@pytest.mark.parametrize("convention", READINGS)
def test_four_steps_of_every_reading(convention: str) -> None:
    """Which pairs were kept is read off the losses; all else is computed here from the table of the docstring."""
    unit = 1.0 if convention == "official" else 0.1
    floor = -np.inf if convention == "madpo" else 1e-3
    mean, deviation = 0.0, 0.0 if convention == "official" else 1.0
    objective = BetaDpo(beta=0.1, alpha=0.6, dropped=0.2, convention=convention)
    for step in range(4):
        margins = np.random.default_rng(step).normal(2.0 * step, 3.0, 10)
        batch = batch_with_margins(margins, seed=step)
        objective.update(batch)
        loss = objective.per_pair(batch).numpy()
        kept = loss > 0
        gap = unit * margins
        mean, deviation = 0.9 * mean + 0.1 * gap.mean(), 0.9 * deviation + 0.1 * gap.std(ddof=1)
        centre = gap.mean() if convention == "madpo" else gap[kept].mean()
        beta = max(0.1 * (1 + 0.6 * (centre - mean)), floor)
        assert kept.sum() == 8
        assert (objective.gap_mean, objective.gap_deviation) == pytest.approx((mean, deviation))
        assert objective.batch_beta == pytest.approx(beta)
        assert loss == pytest.approx(np.where(kept, 10 / 8 * np.log1p(np.exp(-beta * margins)), 0.0))


def test_the_mean_is_the_mean_over_the_kept() -> None:
    loss = BetaDpo(dropped=0.5).per_pair(batch_with_margins(np.zeros(10)))
    assert (loss > 0).sum() == 5
    assert loss.mean().item() == pytest.approx(np.log(2))


@pytest.mark.parametrize(("dropped", "kept"), [(0.2, 8), (0.25, 7), (0.8, 2), (0.9, 1)])
def test_of_ten_pairs_the_undropped_share_is_kept_and_a_part_of_a_pair_is_none(dropped: float, kept: int) -> None:
    """1 - .8 falls short of .2 by rounding, which is no reason to drop a ninth pair."""
    loss = BetaDpo(dropped=dropped).per_pair(batch_with_margins(np.zeros(10)))
    assert (loss > 0).sum() == kept


def test_official_beta_has_a_floor_and_madpos_has_none() -> None:
    """A batch far below the usual gap: beta would turn negative, and the loss would reward the rejected answers."""
    usual, low = batch_with_margins(np.full(4, 100.0)), batch_with_margins(np.array([-60.0, -50.0, -50.0, -40.0]))
    betas = {}
    for convention in READINGS:
        objective = BetaDpo(dropped=0.0, convention=convention)
        for batch in [usual] * 20 + [low]:
            objective.update(batch)
        betas[convention] = objective.batch_beta
    assert betas["official"] == betas["gamma-po"] == pytest.approx(1e-3)
    assert betas["madpo"] < 0


def test_pairs_unlike_the_others_are_dropped_first() -> None:
    """One pair six deviations out in every batch: it is kept about never, and each of the others about as often as any."""
    margins = np.array([0.0, 0.1, -0.1, 0.2, 30.0])
    objective = BetaDpo(dropped=0.2, convention="official")
    objective.gap_mean, objective.gap_deviation = 0.0, 5.0
    kept = np.mean([objective.per_pair(batch_with_margins(margins, seed)).numpy() > 0 for seed in range(300)], axis=0)
    assert kept[4] < 0.01
    assert (kept[:4] > 0.97).all()


def test_the_draw_is_torchs_multinomial_without_replacement() -> None:
    """How often each pair of positions is kept, against torch's own draw on the same weights; four standard errors of 4,000 draws."""
    margins, count = np.array([0.0, 1.0, 2.0, 3.0]), 4000
    objective = BetaDpo(dropped=0.5)
    objective.gap_deviation = 1.5
    kept = np.array([objective.per_pair(batch_with_margins(margins, seed)).numpy() > 0 for seed in range(count)], dtype=float)
    weights = torch.exp(-0.5 * (torch.tensor(margins) / 1.5) ** 2).expand(count, -1)
    drawn = torch.multinomial(weights, 2, generator=torch.Generator().manual_seed(1))
    theirs = torch.nn.functional.one_hot(drawn, 4).sum(1).double()
    assert kept.T @ kept / count == pytest.approx((theirs.T @ theirs).numpy() / count, abs=4 * np.sqrt(0.5 / count))


def test_at_the_very_start_every_pair_is_as_likely_to_be_kept() -> None:
    """Policy and reference agree to the last bit, no average has moved, and a weight is exp(-(0 / 0)^2 / 2)."""
    kept = np.mean([BetaDpo(dropped=0.5).per_pair(batch_with_margins(np.zeros(6), seed)).numpy() > 0 for seed in range(1000)], axis=0)
    assert kept == pytest.approx(np.full(6, 0.5), abs=4 * np.sqrt(0.25 / 1000))


def test_looking_changes_nothing_and_draws_the_same() -> None:
    objective, batch = BetaDpo(convention="gamma-po"), batch_with_margins(np.linspace(-3, 5, 20), seed=7)
    objective.update(batch)
    before, stream = copy.deepcopy(objective.state_dict()), torch.get_rng_state()
    assert torch.equal(objective.per_pair(batch), objective.per_pair(batch))
    assert objective.state_dict() == before
    assert torch.equal(torch.get_rng_state(), stream)
    other = batch_with_margins(np.linspace(-3, 5, 20), seed=8)
    assert not torch.equal(objective.per_pair(batch), objective.per_pair(other))


@pytest.mark.parametrize("convention", READINGS)
def test_a_killed_run_goes_on_with_its_averages(convention: str) -> None:
    objective, batch = BetaDpo(convention=convention), batch_with_margins(np.linspace(-3, 5, 20))
    objective.update(batch)
    resumed = BetaDpo(convention=convention)
    resumed.load_state_dict(json.loads(json.dumps(objective.state_dict())))
    assert torch.equal(resumed.per_pair(batch), objective.per_pair(batch))
    assert resumed.diagnostics() == objective.diagnostics()
    assert resumed.options() == objective.options()


def test_no_gradient_moves_the_beta_of_the_batch() -> None:
    """The slope of a kept pair is -B / kept * beta_b * sigma(-beta_b * margin), that of a dropped one 0."""
    margins = torch.linspace(-3, 5, 10, dtype=torch.float64, requires_grad=True)
    batch = PairBatch(margins, *[torch.zeros(10, dtype=torch.float64)] * 6, seed=3)
    objective = BetaDpo()
    objective.update(batch)
    loss = objective.per_pair(batch)
    (slope,) = torch.autograd.grad(loss.sum(), margins)
    beta, z = objective.batch_beta, objective.batch_beta * margins.detach().numpy()
    assert slope.numpy() == pytest.approx(np.where(loss.detach() > 0, -10 / 8 * beta / (1 + np.exp(z)), 0.0))


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("convention", READINGS)
@pytest.mark.parametrize("distance", [0.0, 2e4, -2e4])
def test_finite_from_no_gap_at_all_to_far_out(convention: str, distance: float, size: int) -> None:
    """Before the first step every gap may be 0; official weights are 0 / 0 there, and underflow to nothing far out."""
    objective = BetaDpo(convention=convention)
    margins = torch.full((size,), distance, dtype=torch.float64, requires_grad=True)
    batch = PairBatch(margins, *[torch.zeros(size, dtype=torch.float64)] * 6)
    for _ in range(2):
        loss = objective.per_pair(batch)
        (slope,) = torch.autograd.grad(loss.sum(), margins)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(slope).all()
        objective.update(batch)
        assert np.isfinite(list(objective.state_dict().values())).all()
