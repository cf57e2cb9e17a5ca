"""Odpo and mmpo: the column that they read, ties, and gaps of the wrong sign."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.api import PairBatch
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.score_gap import Mmpo, Odpo
from tests.objectives.told_pairs import tensor, told_pairs

MARGIN = np.array([1.5, -1.4, 0.2, 5.5])


def with_gaps(*gaps: float, **changes: torch.Tensor) -> PairBatch:
    return told_pairs(columns={"score-gap": tensor(*gaps)}, **changes)


@pytest.mark.parametrize("cls", [Odpo, Mmpo])
def test_the_column_is_an_option(cls: type[Odpo] | type[Mmpo]) -> None:
    """A track with another annotator names its column, and the core computes that one."""
    objective = cls(column="reward-margin")
    assert cls().needs == ("score-gap",)
    assert objective.needs == ("reward-margin",)
    renamed = told_pairs(columns={"reward-margin": tensor(2.0, 1.0, 0.5, 3.0)})
    assert torch.equal(objective.per_pair(renamed), cls().per_pair(told_pairs()))


def test_odpo_asks_for_a_lead_that_grows_with_the_gap() -> None:
    expected = np.log1p(np.exp(-(0.1 * MARGIN - 0.5 * np.log([2.0, 1.0, 0.5, 3.0]))))
    assert Odpo(beta=0.1, alpha=0.5).per_pair(told_pairs()).numpy() == pytest.approx(expected, abs=1e-12)


def test_odpo_leaves_out_pairs_whose_gap_is_not_positive() -> None:
    """Loss and gradient 0 at a tie and below, where the logarithm would make NaN of the whole batch; the other pairs are not scaled."""
    chosen = told_pairs().policy_chosen.clone().requires_grad_()
    loss = Odpo().per_pair(with_gaps(2.0, 0.0, -1.0, 3.0, policy_chosen=chosen))
    (gradient,) = torch.autograd.grad(loss.sum(), chosen)
    assert loss[1:3].tolist() == gradient[1:3].tolist() == [0.0, 0.0]
    assert loss[[0, 3]].tolist() == pytest.approx([1.001152, 1.004613], abs=1e-6)
    assert (gradient[[0, 3]] < 0.0).all()


def test_odpo_falls_to_nothing_as_the_gap_does() -> None:
    """Why a tie is 0 and not an error: there is no step from small gaps to none."""
    assert Odpo().per_pair(with_gaps(1e-9, 1e-12, 1e-15, 1e-300)).max().item() < 1e-8


def test_mmpo_label_is_the_odds_of_the_gap() -> None:
    label = 1.0 / (1.0 + np.exp(-2.2 * np.array([2.0, 1.0, 0.5, 3.0])))
    expected = label * np.log1p(np.exp(-0.1 * MARGIN)) + (1.0 - label) * np.log1p(np.exp(0.1 * MARGIN))
    assert Mmpo(beta=0.1, scale=2.2).per_pair(told_pairs()).numpy() == pytest.approx(expected, abs=1e-12)


def test_mmpo_trains_the_other_way_where_scores_contradict_the_label() -> None:
    """At the reference, a tie does not move, and a negative gap makes the rejected answer likelier: it is not monotone, and says so."""
    chosen = told_pairs().reference_chosen.clone().requires_grad_()
    at_reference = with_gaps(1.0, 0.0, -1.0, -3.0, policy_chosen=chosen, policy_rejected=told_pairs().reference_rejected)
    (gradient,) = torch.autograd.grad(Mmpo().per_pair(at_reference).sum(), chosen)
    assert gradient.sign().tolist() == [-1.0, 0.0, 1.0, 1.0]
    assert not Mmpo.monotone


def test_mmpo_with_far_gaps_is_dpo() -> None:
    sure = with_gaps(1e4, 1e4, 1e4, 1e4)
    torch.testing.assert_close(Mmpo(beta=0.1).per_pair(sure), Dpo(beta=0.1).per_pair(sure))
