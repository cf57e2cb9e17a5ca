"""Robust, exo and discopop: what each does that DPO does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from prefbench.objectives.dpo import Dpo
from prefbench.objectives.links import DiscoPop, Exo, Robust
from tests.objectives.told_pairs import tensor, told_pairs


def at_margins(*margins: float) -> dict[str, torch.Tensor]:
    """Log-probs of pairs of given margins, all of it on the chosen side."""
    home = torch.zeros(len(margins), dtype=torch.float64)
    return {"policy_chosen": tensor(*margins), "policy_rejected": home, "reference_chosen": home, "reference_rejected": home}


def test_robust_averages_to_dpo_over_flips() -> None:
    """Unbiased: with a share eps of the labels flipped, its mean is DPO's under the true ones."""
    margins = (-3.0, 0.2, 7.0)
    kept = Robust(label_smoothing=0.2).per_pair(told_pairs(**at_margins(*margins)))
    flipped = Robust(label_smoothing=0.2).per_pair(told_pairs(**at_margins(*(-margin for margin in margins))))
    truth = Dpo().per_pair(told_pairs(**at_margins(*margins)))
    torch.testing.assert_close(0.8 * kept + 0.2 * flipped, truth)


def test_robust_falls_below_zero() -> None:
    assert Robust(label_smoothing=0.1).per_pair(told_pairs(**at_margins(100.0))).item() < 0.0


def test_exo_is_nought_at_the_smoothed_label_only() -> None:
    best = math.log(0.9 / 0.1) / 0.1
    below, least, above = Exo(label_smoothing=0.1).per_pair(told_pairs(**at_margins(best - 1.0, best, best + 1.0))).tolist()
    assert least == pytest.approx(0.0, abs=1e-12)
    assert min(below, above) > 1e-4


def test_exo_is_the_divergence_from_policy_to_label() -> None:
    margins = np.array([-8.0, 0.0, 30.0])
    q = 1.0 / (1.0 + np.exp(-0.1 * margins))
    expected = q * np.log(q / 0.95) + (1.0 - q) * np.log((1.0 - q) / 0.05)
    assert Exo(label_smoothing=0.05).per_pair(told_pairs(**at_margins(*margins))).numpy() == pytest.approx(expected)


def test_discopop_rises_with_the_margin_at_the_reference() -> None:
    """Why it is declared not monotone: a pair on which policy and reference agree is pushed the wrong way at first."""
    before, home, after = DiscoPop().per_pair(told_pairs(**at_margins(-0.05, 0.0, 0.05))).tolist()
    assert before < home < after
    assert not DiscoPop.monotone


def test_discopop_is_logistic_on_the_wrong_side_and_exponential_on_the_right() -> None:
    wrong, right = DiscoPop(beta=0.1).per_pair(told_pairs(**at_margins(-30.0, 30.0))).tolist()
    assert wrong == pytest.approx(math.log(1.0 + math.exp(3.0)))
    assert right == pytest.approx(math.exp(-3.0))
