"""Which way a selection is trained on, and why."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from prefbench.objectives.dpo import Dpo
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.schedulers.uniform import Uniform
from prefbench.train import modes
from prefbench.train.forward import make_scorer
from prefbench.train.job import KEPT, TWO_PASS, TrainJob
from prefbench.train.modes import choose_selection, obstacle
from tests.train.test_loop import make_job
from tests.train.test_state import forgetful


def weights(job: TrainJob) -> torch.Tensor:
    return torch.cat([weight.detach().flatten().clone() for weight in job.scorer.model.parameters()])


def test_both_ways_are_measured_and_the_policy_stays_as_it_is():
    job = make_job(Dpo(), LossRanked())
    job.scorer.model.train()
    before = weights(job)
    choice = choose_selection(job)
    assert choice.reason == "measured"
    assert set(choice.seconds) == {TWO_PASS, KEPT}
    assert min(choice.seconds.values()) > 0
    assert torch.equal(weights(job), before)
    assert all(weight.grad is None for weight in job.scorer.model.parameters())
    assert job.scorer.model.training


@pytest.mark.parametrize(("kept", "mode"), [(0.5, KEPT), (0.95, TWO_PASS), (2.0, TWO_PASS)])
def test_graphs_are_kept_where_that_is_clearly_faster(monkeypatch, kept, mode):
    """A tie is decided alike on every run: results would differ in the last digit otherwise."""
    monkeypatch.setattr(modes, "_measured", lambda job: ({TWO_PASS: 1.0, KEPT: kept}, 0))
    assert choose_selection(make_job(Dpo(), LossRanked())).mode == mode


def test_graphs_that_might_not_fit_into_memory_are_not_kept(monkeypatch):
    monkeypatch.setattr(modes, "_measured", lambda job: ({TWO_PASS: 1.0, KEPT: 0.5}, 1 << 50))
    choice = choose_selection(make_job(Dpo(), LossRanked()))
    assert (choice.mode, choice.seconds[KEPT]) == (TWO_PASS, 0.5)
    assert "might not fit" in choice.reason

    def full(job: TrainJob) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(modes, "_measured", full)
    assert "do not fit" in choose_selection(make_job(Dpo(), LossRanked())).reason


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (make_job(Dpo(), Uniform()), "scores nothing"),
        (make_job(Dpo(), LossRanked(stale=True)), "stale"),
        (make_job(Dpo(), LossRanked(), gradient_accumulation=True), "saves memory"),
        (make_job(Dpo(), LossRanked(), gradient_checkpointing=True), "saves memory"),
        (dataclasses.replace(make_job(Dpo(), LossRanked()), scorer=make_scorer(forgetful(), "float32")), "dropout"),
    ],
    ids=["uniform", "stale", "accumulation", "checkpointing", "dropout"],
)
def test_what_speaks_against_kept_graphs_is_said(job, reason):
    choice = choose_selection(job)
    assert choice.mode == TWO_PASS
    assert reason in choice.reason
    assert not choice.seconds


def test_dropout_that_only_the_configuration_names_counts():
    """Layers that call the function have no module that would tell."""
    job = make_job(Dpo(), LossRanked())
    assert obstacle(job) == ""
    job.scorer.model.config.attention_dropout = 0.1
    assert "dropout" in obstacle(job)


def test_statistics_that_depend_on_the_cut_of_micro_batches_are_not_left_to_a_stopwatch():
    @dataclasses.dataclass
    class Padded(LossRanked):
        wants = ("loss", "padded_hidden_states")

    assert "padding" in obstacle(make_job(Dpo(), Padded()))
