"""Compiled layers: the plain gradients, and no compilation that the run would not earn back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo
from torch._dynamo.testing import CompileCounterWithBackend

from prefbench.config import LoraRules
from prefbench.objectives.dpo import Dpo
from prefbench.train import compiled
from prefbench.train.adapters import fresh_policy
from prefbench.train.compiled import choose_compilation, compile_layers, layers_of
from prefbench.train.forward import Scorer, make_scorer
from prefbench.train.job import TrainJob
from prefbench.train.loop import accumulate_gradients
from prefbench.train.state import trainable
from tests.models import ZOO, tiny_llama, tiny_model
from tests.train.test_loop import make_job, relative_difference

IDS = np.array([3, 17, 5, 0, 11])


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> CompileCounterWithBackend:
    """Layers are traced as they are for the compiler, and run without it: seconds instead of half a minute. It counts what was traced."""
    torch._dynamo.reset()
    plain, counter = torch.nn.Module.compile, CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch.nn.Module, "compile", lambda layer, **options: plain(layer, backend=counter, **options))
    return counter


def gradients(job: TrainJob) -> list[torch.Tensor]:
    accumulate_gradients(job, IDS, 0)
    return [weight.grad for weight in trainable(job.scorer.model)]


def job_with(scorer: Scorer) -> TrainJob:
    scorer.model.train()
    return dataclasses.replace(make_job(Dpo()), scorer=scorer)


@pytest.mark.parametrize("lora", [None, LoraRules(rank=2)], ids=["full", "lora"])
def test_gradients_are_the_plain_ones(traced, lora):
    plain, other = (job_with(fresh_policy(make_scorer(tiny_llama(), "float32"), lora, seed=0)) for _ in range(2))
    compile_layers(other.scorer.model)
    assert relative_difference(gradients(other), gradients(plain)) < 1e-6
    assert traced.frame_count > 0


def test_the_layers_of_every_architecture_are_found():
    assert {name: len(layers_of(tiny_model(name))) for name in ZOO} == dict.fromkeys(ZOO, 2)


def test_the_folder_of_a_compiled_policy_is_the_plain_one(traced, tmp_path: Path):
    plain, model = tiny_llama(), tiny_llama()
    compile_layers(model)
    assert plain.state_dict().keys() == model.state_dict().keys()
    model.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path).state_dict().keys() == plain.state_dict().keys()


# ---------------------------------------------------------------- whether it pays


def test_a_short_training_is_not_worth_the_trial():
    choice = choose_compilation(make_job(Dpo()), lambda: pytest.fail("nothing is compiled"))
    assert (choice.used, list(choice.seconds)) == (False, ["plain"])


def long_job() -> TrainJob:
    return make_job(Dpo(), steps=10_000_000)


@pytest.mark.parametrize(("compiled_step", "steps", "used"), [(0.8, 1000, True), (0.8, 400, False), (1.1, 1000, False)])
def test_compiled_layers_are_used_where_they_earn_their_compilation_back(monkeypatch, traced, compiled_step, steps, used):
    seconds = iter([1.0, compiled_step])
    monkeypatch.setattr(compiled, "median_seconds", lambda job: next(seconds))
    monkeypatch.setattr(compiled, "seconds_of", lambda step: 100.0)
    job = make_job(Dpo(), steps=steps)
    choice = choose_compilation(job, job.scorer.copy)
    assert (choice.used, choice.reason) == (used, "measured")
    assert choice.seconds["compiling"] == 100.0


def test_a_machine_without_a_compiler_goes_on_without(monkeypatch):
    def fails(layer: torch.nn.Module, **options: object) -> None:
        layer.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("no g++ here")))

    monkeypatch.setattr(torch.nn.Module, "compile", fails)
    job = long_job()
    choice = choose_compilation(job, job.scorer.copy)
    assert (choice.used, choice.reason) == (False, "the layers do not compile: no g++ here")


def test_a_track_that_saves_memory_is_not_compiled():
    assert "saves memory" in choose_compilation(make_job(Dpo(), gradient_checkpointing=True), lambda: pytest.fail("none")).reason
