"""AOT: losses of ranks, and the pairs at which they stand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from prefbench.api import Objective, PairBatch
from prefbench.objectives.aot import Aot, AotUnpaired
from prefbench.objectives.dpo import Dpo
from tests.objectives.told_pairs import told_pairs

BOTH = [Aot, AotUnpaired]


def rows(pairs: PairBatch, order: list[int]) -> PairBatch:
    names = ("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected")
    return dataclasses.replace(pairs, **{name: getattr(pairs, name)[order] for name in names})


@pytest.mark.parametrize("cls", BOTH)
def test_one_pair_is_dpo(cls: type[Objective]) -> None:
    one = rows(told_pairs(), [1])
    torch.testing.assert_close(cls(beta=0.1, label_smoothing=0.2).per_pair(one), Dpo(beta=0.1, label_smoothing=0.2).per_pair(one))


def test_a_loss_stands_at_the_pair_whose_policy_gap_has_its_rank() -> None:
    """Policy gaps 3, -2, -.5, 11 have ranks 2, 0, 1, 3, and meet the reference's gaps 1.5, -.7, -.6, 5.5."""
    gaps = np.array([3.0 - 1.5, -2.0 + 0.7, -0.5 + 0.6, 11.0 - 5.5])
    assert Aot(beta=0.1).per_pair(told_pairs()).numpy() == pytest.approx(np.log1p(np.exp(-0.1 * gaps)), abs=1e-12)


def test_a_loss_stands_at_the_pair_whose_chosen_log_ratio_has_its_rank() -> None:
    """Chosen log-ratios 1, -1, .4, 1.5 have ranks 2, 0, 1, 3, and meet the rejected .2, -4, -.5, .4."""
    gaps = np.array([1.0 - 0.2, -1.0 + 4.0, 0.4 + 0.5, 1.5 - 0.4])
    assert AotUnpaired(beta=0.1).per_pair(told_pairs()).numpy() == pytest.approx(np.log1p(np.exp(-0.1 * gaps)), abs=1e-12)


@pytest.mark.parametrize("cls", BOTH)
def test_losses_move_with_their_pairs(cls: type[Objective]) -> None:
    """The order of the batch says nothing: a scheduler that ranks pairs by loss must not be given another pair's."""
    order = [2, 0, 3, 1]
    torch.testing.assert_close(cls().per_pair(rows(told_pairs(), order)), cls().per_pair(told_pairs())[order])


@pytest.mark.parametrize("cls", BOTH)
def test_label_smoothing_mixes_in_the_flipped_label(cls: type[Objective]) -> None:
    plain = cls(beta=0.1).per_pair(told_pairs()).numpy()
    gaps = -10.0 * np.log(np.expm1(plain))
    expected = 0.9 * plain + 0.1 * np.log1p(np.exp(0.1 * gaps))
    assert cls(beta=0.1, label_smoothing=0.1).per_pair(told_pairs()).numpy() == pytest.approx(expected, abs=1e-12)
