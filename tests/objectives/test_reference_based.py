"""Reference-based losses against the worked table, against finite differences and far from home."""

from __future__ import annotations

import pytest
import torch

from prefbench.api import Objective, PairBatch
from prefbench.objectives.aot import Aot, AotUnpaired
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.kto import KtoPaired
from prefbench.objectives.ld_dpo import LdDpo
from prefbench.objectives.links import DiscoPop, Exo, Robust
from prefbench.objectives.plugin import REFERENCE_BASED
from prefbench.objectives.pointwise import BcoPair, Nca, SppoHard
from prefbench.objectives.score_gap import Odpo
from prefbench.objectives.shifted import DpoShift, RDpo
from prefbench.objectives.tdpo import Tdpo1, Tdpo2
from prefbench.objectives.wpo import Wpo
from tests.objectives.told_pairs import STATISTICS, tensor, told_pairs

NO_KL = {"chosen_kl": tensor(0, 0, 0, 0), "rejected_kl": tensor(0, 0, 0, 0)}


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Robust(beta=0.1, label_smoothing=0.1), [0.602207, 0.783095, 0.680697, 0.386742]),
        (Exo(beta=0.1, label_smoothing=1e-3), [2.505517, 3.005017, 2.726748, 1.871218]),
        (DiscoPop(beta=0.1, tau=0.05), [0.849338, 0.787647, 0.861008, 0.576948]),
        (Nca(beta=0.1), [1.350825, 1.423269, 1.381619, 1.262943]),
        (BcoPair(beta=0.1), [1.312856, 1.457744, 1.376544, 1.133972]),
        (SppoHard(beta=0.1), [36.25, 65.16, 48.2, 13.25]),
        (KtoPaired(beta=0.1), [(0.475021 + 0.475644) / 2, (0.524979 + 0.498125) / 2, (0.490001 + 0.493125) / 2, (0.46257 + 0.389955) / 2]),
        (RDpo(beta=0.1, alpha=0.05), [0.598139, 0.739159, 0.65876, 0.620957]),
        (DpoShift(beta=0.1, f=0.75), [0.626759, 0.760258, 0.680725, 0.493249]),
        (Odpo(beta=0.1, alpha=1.0), [1.001152, 0.765595, 0.398843, 1.004613]),
    ],
    ids=str,
)
def test_worked_values(objective: Objective, expected: list[float]) -> None:
    loss = objective.per_pair(told_pairs())
    assert loss.dtype == torch.float64
    assert loss.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("objective", "ranked"),
    [
        (Aot(beta=0.1), [0.760258, 0.68816, 0.620957, 0.455492]),
        (AotUnpaired(beta=0.1), [0.554355, 0.649159, 0.653947, 0.639659]),
    ],
    ids=str,
)
def test_worked_values_by_rank(objective: Objective, ranked: list[float]) -> None:
    """The table lists them from the least to the largest gap, or chosen log-ratio; which pair each stands at is for the tests of AOT."""
    assert sorted(objective.per_pair(told_pairs()).tolist()) == pytest.approx(sorted(ranked), abs=1e-6)


@pytest.mark.parametrize(
    "same", [Robust(label_smoothing=0.0), RDpo(alpha=0.0), DpoShift(beta=0.1, f=1.0), LdDpo(alpha=1.0), Odpo(alpha=0.0)], ids=str
)
def test_without_its_own_part_it_is_dpo(same: Objective) -> None:
    torch.testing.assert_close(same.per_pair(told_pairs()), Dpo(beta=0.1).per_pair(told_pairs()))


@pytest.mark.parametrize("same", [Tdpo1(), Tdpo2()], ids=str)
def test_with_no_divergence_token_level_dpo_is_dpo(same: Objective) -> None:
    pairs = told_pairs(statistics=NO_KL)
    torch.testing.assert_close(same.per_pair(pairs), Dpo(beta=0.1).per_pair(pairs))


EVERY = [cls() for cls in REFERENCE_BASED]
STATED_SLOPE = (Wpo, Tdpo2)
"""These stop a gradient on purpose, so that finite differences see more than they pass on: their own tests state the gradient."""


@pytest.mark.parametrize("objective", [*(o for o in EVERY if not isinstance(o, STATED_SLOPE)), Aot(label_smoothing=0.1)], ids=str)
def test_gradient_is_the_slope(objective: Objective) -> None:
    """Central differences of every loss in every log-prob, and in the statistics with gradient where they are read."""
    names = ("policy_chosen", "policy_rejected", *(name for name in objective.wants if name.endswith(("_kl", "_common_log_prob"))))
    leaves = [tensor(*STATISTICS[name]) if name in STATISTICS else getattr(told_pairs(), name).clone() for name in names]

    def losses(chosen: torch.Tensor, rejected: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        statistics = dict(zip(names[2:], rest, strict=True))
        return objective.per_pair(told_pairs(policy_chosen=chosen, policy_rejected=rejected, statistics=statistics))

    assert torch.autograd.gradcheck(losses, [leaf.requires_grad_() for leaf in leaves], eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("objective", [*EVERY, DiscoPop(tau=1.0), KtoPaired(detached=True)], ids=str)
@pytest.mark.parametrize(("chosen_moves", "rejected_moves"), [(1e4, -1e4), (-1e4, 1e4), (1e4, 1e4), (-1e4, -1e4)])
def test_finite_far_out(objective: Objective, chosen_moves: float, rejected_moves: float) -> None:
    """A diverging run is to be reported with its loss, and its gradient must not turn the weights into NaN."""
    chosen = (told_pairs().policy_chosen + chosen_moves).requires_grad_()
    rejected = (told_pairs().policy_rejected + rejected_moves).requires_grad_()
    pairs = told_pairs(policy_chosen=chosen, policy_rejected=rejected)
    objective.update(told_pairs(policy_chosen=chosen.detach(), policy_rejected=rejected.detach()))
    loss = objective.per_pair(pairs)
    gradients = torch.autograd.grad(loss.sum(), [chosen, rejected])
    assert torch.isfinite(torch.cat([loss, *gradients])).all()


@pytest.mark.parametrize("objective", [objective for objective in EVERY if objective.monotone], ids=str)
def test_at_the_reference_chosen_goes_up_and_rejected_down(objective: Objective) -> None:
    """Where every run starts. Discopop and mmpo are declared not to promise it, and their own tests say where they do not."""
    reference = told_pairs()
    chosen = reference.reference_chosen.clone().requires_grad_()
    rejected = reference.reference_rejected.clone().requires_grad_()
    loss = objective.per_pair(told_pairs(policy_chosen=chosen, policy_rejected=rejected)).mean()
    up, down = torch.autograd.grad(loss, [chosen, rejected])
    assert up.sum() < 0 < down.sum()


@pytest.mark.parametrize("objective", EVERY, ids=str)
def test_only_the_declared_read_other_pairs(objective: Objective) -> None:
    """Two halves give what the whole gives, unless the loss says that it depends on its batch."""
    whole = objective.per_pair(told_pairs())
    halves = torch.cat([objective.per_pair(_rows(slice(0, 2))), objective.per_pair(_rows(slice(2, 4)))])
    assert torch.allclose(whole, halves, rtol=0.0, atol=1e-12) != objective.batch_coupled


def _rows(rows: slice) -> PairBatch:
    pairs = told_pairs()
    fields = ("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected", "chosen_tokens", "rejected_tokens")
    return told_pairs(
        **{name: getattr(pairs, name)[rows] for name in fields},
        columns={name: values[rows] for name, values in pairs.columns.items()},
        statistics={name: values[rows] for name, values in pairs.statistics.items()},
    )
