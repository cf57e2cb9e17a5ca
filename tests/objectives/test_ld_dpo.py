"""LD-DPO against independent arithmetic, token by token."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from prefbench.objectives.dpo import Dpo
from prefbench.objectives.ld_dpo import LdDpo
from prefbench.testing import ObjectiveContract, worked_pairs
from tests.objectives.told_pairs import tensor

POLICY = ([-2.0, -1.0, -3.0, -4.0, -2.0], [-1.0, -2.5])
REFERENCE = ([-2.5, -1.0, -2.0, -3.0, -2.5], [-1.5, -2.0])
"""Log-probs of the tokens of a chosen answer of five tokens, and of a rejected one of two."""


def discounted(log_probs: list[float], common: int, alpha: float) -> float:
    return sum(value if place < common else alpha * value for place, value in enumerate(log_probs))


class TestContract(ObjectiveContract):
    """At the ends of its range it reads one kind of log-prob only."""

    component = LdDpo
    variants = ({}, {"alpha": 0.0}, {"alpha": 1.0})


@pytest.mark.parametrize("swapped", [False, True], ids=["the chosen is longer", "the rejected is longer"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_tokens_behind_the_shorter_answers_length_count_by_alpha(alpha: float, swapped: bool) -> None:
    chosen, rejected = (1, 0) if swapped else (0, 1)
    common = [[sum(answer[:2]) for answer in side] for side in (POLICY, REFERENCE)]
    pair = dataclasses.replace(
        worked_pairs(),
        policy_chosen=tensor(sum(POLICY[chosen])),
        policy_rejected=tensor(sum(POLICY[rejected])),
        reference_chosen=tensor(sum(REFERENCE[chosen])),
        reference_rejected=tensor(sum(REFERENCE[rejected])),
        statistics={"chosen_common_log_prob": tensor(common[0][chosen]), "rejected_common_log_prob": tensor(common[0][rejected])},
        columns={"reference-common-margin": tensor(common[1][chosen] - common[1][rejected])},
    )
    sums = [[discounted(answer, 2, alpha) for answer in side] for side in (POLICY, REFERENCE)]
    margin = (sums[0][chosen] - sums[1][chosen]) - (sums[0][rejected] - sums[1][rejected])
    assert LdDpo(beta=0.5, alpha=alpha).per_pair(pair).item() == pytest.approx(np.log1p(np.exp(-0.5 * margin)))
    if alpha < 1:
        assert LdDpo(beta=0.5, alpha=alpha).per_pair(pair).item() != pytest.approx(Dpo(beta=0.5).per_pair(pair).item(), rel=1e-3)
