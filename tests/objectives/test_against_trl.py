"""Built-in objectives against TRL's own trainers, on two real tiny models; where the two differ on purpose, that they do, and by what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from prefbench.api import Objective
from prefbench.objectives.aot import Aot, AotUnpaired
from prefbench.objectives.apo import ApoDown, ApoZero
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.hinge import Hinge
from prefbench.objectives.ipo import Ipo
from prefbench.objectives.kto import Kto
from prefbench.objectives.ld_dpo import LdDpo
from prefbench.objectives.likelihood import Cpo, Orpo
from prefbench.objectives.links import DiscoPop, Exo, Robust
from prefbench.objectives.pointwise import BcoPair, Nca, SppoHard
from prefbench.objectives.simpo import AlphaPo, SimPo
from prefbench.objectives.wpo import Wpo
from tests.objectives.trl_bench import Bench, Loss, likely_rows, random_rows, same_length_rows, seen_pairs, whole_batch, worked_out

pytest.importorskip("trl", minversion="1.16", reason="needs TRL, which prefbench does not: python -m nox -s trl")

COUNTERPARTS: dict[str, Objective] = {
    "sigmoid": Dpo(),
    "hinge": Hinge(),
    "ipo": Ipo(),
    "exo_pair": Exo(),
    "nca_pair": Nca(),
    "robust": Robust(),
    "bco_pair": BcoPair(),
    "sppo_hard": SppoHard(),
    "aot": Aot(label_smoothing=0.1),
    "aot_unpaired": AotUnpaired(label_smoothing=0.1),
    "apo_zero": ApoZero(),
    "apo_down": ApoDown(),
    "discopop": DiscoPop(),
}
WITHOUT_COUNTERPART = {"sft", "sigmoid_norm"}
"""TRL's loss types that are no objective here: plain fine-tuning on the chosen answers, and DPO on log-ratios per token."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def trl_options(objective: Objective) -> dict[str, float]:
    """The objective's options under TRL's names."""
    names = {"beta": "beta", "label_smoothing": "label_smoothing", "tau": "discopop_tau"}
    return {names[option]: value for option, value in objective.options().items() if option in names}


def assert_same(ours: Loss, theirs: Loss) -> None:
    """The loss to 1e-5, and the gradient of all weights to 1e-4 of its size: the models and TRL work in float32."""
    assert ours[0].item() == pytest.approx(theirs[0].item(), rel=1e-5)
    slopes = [gradient(*side) for side in (ours, theirs)]
    assert (slopes[0] - slopes[1]).norm() < 1e-4 * slopes[1].norm()


def gradient(loss: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([slope.flatten() for slope in torch.autograd.grad(loss, list(model.parameters()))])


# --------------------------------------------------------------------------------------------- where the two are the same


@pytest.mark.parametrize("loss_type", COUNTERPARTS)
def test_the_dpo_trainers_losses(bench: Bench, loss_type: str) -> None:
    objective, rows = COUNTERPARTS[loss_type], random_rows()
    assert_same(worked_out(objective, rows), bench.dpo(rows, loss_type, **trl_options(objective)))


def test_no_loss_of_the_dpo_trainer_is_forgotten(bench: Bench) -> None:
    """TRL names them all when it meets one that it does not know."""
    trainer = bench.dpo_trainer(random_rows(2), "sigmoid")
    trainer.loss_types = ["?"]
    with pytest.raises(ValueError, match="Unknown loss type") as error:
        trainer.compute_loss(trainer.model, whole_batch(trainer))
    assert set(re.findall(r"'(\w+)'", str(error.value))) == COUNTERPARTS.keys() | WITHOUT_COUNTERPART


def test_the_pairs_can_tell_losses_apart() -> None:
    """At margin 0 half of the losses would agree whatever their formula, and in one order aot is dpo."""
    batch = seen_pairs(random_rows())
    assert batch.margin.std() > 1
    gaps = batch.policy_chosen - batch.policy_rejected, batch.reference_chosen - batch.reference_rejected
    assert not torch.equal(gaps[0].argsort(), gaps[1].argsort())
    assert not torch.equal(batch.chosen_log_ratio.argsort(), batch.rejected_log_ratio.argsort())


def test_wpo_without_its_clamp_is_the_dpo_trainers_use_weighting(bench: Bench) -> None:
    rows, objective = random_rows(), Wpo(clamped=False)
    assert_same(worked_out(objective, rows), bench.dpo(rows, "sigmoid", use_weighting=True, beta=objective.beta))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_ld_dpo_is_the_dpo_trainers_ld_alpha(bench: Bench, alpha: float) -> None:
    rows = random_rows()
    assert len({len(row.chosen) > len(row.rejected) for row in rows}) == 2, "either answer is to be the longer one"
    assert_same(worked_out(LdDpo(alpha=alpha), rows), bench.dpo(rows, "sigmoid", ld_alpha=alpha))


def test_the_kto_trainers_loss(bench: Bench) -> None:
    rows, objective = random_rows(), Kto(desirable=1.5)
    assert seen_pairs(rows).statistics["mismatched_log_ratio"].mean() > 0, "z0 is 0, and would hide what it does"
    assert_same(worked_out(objective, rows), bench.kto(rows, beta=objective.beta, desirable_weight=1.5))


@pytest.mark.parametrize(
    ("objective", "options"),
    [(SimPo(beta=2.0, gamma=0.5), {}), (AlphaPo(alpha=0.25), {"alpha": 0.25}), (AlphaPo(alpha=-0.5), {"alpha": -0.5})],
    ids=["simpo", "alphapo", "alphapo-bent-the-other-way"],
)
def test_the_cpo_trainers_simpo_and_alphapo(bench: Bench, objective: Objective, options: dict[str, float]) -> None:
    rows = random_rows()
    assert_same(worked_out(objective, rows), bench.cpo(rows, loss_type="simpo", cpo_alpha=0.0, beta=2.0, simpo_gamma=0.5, **options))


def test_cpo_and_orpo_on_answers_of_one_length(bench: Bench) -> None:
    rows = same_length_rows()
    assert_same(worked_out(Cpo(beta=0.1, nll_weight=0.7), rows), bench.cpo(rows, loss_type="sigmoid", beta=0.1, cpo_alpha=0.7))
    assert_same(worked_out(Orpo(beta=0.1), rows), bench.orpo(rows, beta=0.1))


# ------------------------------------------------------------------------------- where the two differ, and the objective says so


def test_difference_the_dpo_trainers_sigmoid_takes_no_label_smoothing(bench: Bench) -> None:
    """It is accepted and ignored: conservative DPO is gone. Loss type aot still has its formula, and is the same on a single pair."""
    rows, smoothed = random_rows(), Dpo(label_smoothing=0.1)
    theirs, _ = bench.dpo(rows, "sigmoid", **trl_options(smoothed))
    assert theirs.item() == pytest.approx(worked_out(Dpo(), rows)[0].item(), rel=1e-5)
    assert theirs.item() != pytest.approx(worked_out(smoothed, rows)[0].item(), rel=1e-2)
    assert_same(worked_out(smoothed, rows[:1]), bench.dpo(rows[:1], "aot", **trl_options(smoothed)))


def test_difference_trls_bco_pair_has_no_running_mean(bench: Bench) -> None:
    """Ours is theirs until its first step; the comparison above is before it."""
    rows, objective = random_rows(), BcoPair(beta=0.1)
    objective.update(seen_pairs(rows))
    theirs, _ = bench.dpo(rows, "bco_pair", beta=0.1)
    assert theirs.item() != pytest.approx(worked_out(objective, rows)[0].item(), rel=1e-4)


@pytest.mark.parametrize(("loss_type", "objective"), [("aot", Aot(beta=0.1)), ("aot_unpaired", AotUnpaired(beta=0.1))])
def test_difference_trl_ranks_within_each_micro_batch(bench: Bench, loss_type: str, objective: Objective) -> None:
    """Two micro-batches of four are not one batch of eight; ours are ranks of the optimiser's batch, however it is cut."""
    rows = random_rows()
    halves = [bench.dpo(half, loss_type, **trl_options(objective))[0].item() for half in (rows[:4], rows[4:])]
    assert sum(halves) / 2 != pytest.approx(worked_out(objective, rows)[0].item(), rel=1e-4)


def test_difference_trl_lets_a_wpo_weight_exceed_one(bench: Bench) -> None:
    """On answers that the policy itself would give, their weight is above 1, where the authors' code and ours end it."""
    rows = likely_rows()
    theirs, _ = bench.dpo(rows, "sigmoid", use_weighting=True, beta=Wpo().beta)
    assert theirs.item() > 1.1 * worked_out(Wpo(), rows)[0].item()
    assert theirs.item() == pytest.approx(worked_out(Wpo(clamped=False), rows)[0].item(), rel=1e-5)


def test_difference_trls_nll_is_the_mean_over_the_tokens_of_the_batch(bench: Bench) -> None:
    """There a long answer counts for more: our NLL of each pair, weighted by its tokens, is theirs."""
    rows = random_rows()
    batch = seen_pairs(rows)
    preference = Cpo(nll_weight=0.0).per_pair(batch)
    assert_weighted_by_tokens(bench.cpo(rows, beta=0.1), preference, Cpo().per_pair(batch) - preference, batch.chosen_tokens)
    nll = Orpo(beta=0.0).per_pair(batch)
    assert_weighted_by_tokens(bench.orpo(rows, beta=0.1), Orpo().per_pair(batch) - nll, nll, batch.prompt_tokens - 1 + batch.chosen_tokens)


def assert_weighted_by_tokens(theirs: Loss, preference: torch.Tensor, nll: torch.Tensor, tokens: torch.Tensor) -> None:
    weighted = preference.mean() + (nll * tokens).sum() / tokens.sum()
    assert theirs[0].item() == pytest.approx(weighted.item(), rel=1e-5)
    assert theirs[0].item() != pytest.approx((preference + nll).mean().item(), rel=1e-4)
