"""Recomputed activations: the gradients of the plain forward, dropout included, with less memory at the peak."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prefbench.config import LoraRules
from prefbench.errors import PrefbenchError
from prefbench.objectives.dpo import Dpo
from prefbench.train.adapters import fresh_policy
from prefbench.train.forward import make_scorer
from prefbench.train.graphs import graphs_of
from prefbench.train.job import TrainJob, pair_micro_batches
from prefbench.train.loop import accumulate_gradients, train
from prefbench.train.meter import Clocks
from prefbench.train.recompute import recompute_layers
from prefbench.train.state import trainable
from tests.models import ZOO, tiny_llama, tiny_model
from tests.train.test_loop import SortedMargins, make_job, relative_difference
from tests.train.test_state import forgetful
from tests.train.test_statistics import WantsEverything

IDS = np.array([3, 17, 5, 0, 11, 20, 8])
WAYS = [(True, False), (False, True), (True, True)]


def job_with(model: torch.nn.Module, layers: bool, batches: bool, lora: LoraRules | None = None, **changes: Any) -> TrainJob:
    job = make_job(changes.get("objective", SortedMargins()), gradient_checkpointing=layers, gradient_accumulation=batches)
    job = dataclasses.replace(job, scorer=fresh_policy(make_scorer(model, changes.get("dtype", "float32")), lora, seed=0))
    job.scorer.model.train()
    if layers:
        recompute_layers(job.scorer.model)
    return job


def gradients(job: TrainJob) -> list[torch.Tensor]:
    torch.manual_seed(3)
    accumulate_gradients(job, IDS, 0)
    return [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in trainable(job.scorer.model)]


@pytest.mark.parametrize(("layers", "batches"), WAYS)
@pytest.mark.parametrize("make", [tiny_llama, forgetful], ids=["llama", "dropout"])
def test_gradients_are_the_plain_ones(make, layers, batches):
    plain = gradients(job_with(make(), False, False))
    assert relative_difference(gradients(job_with(make(), layers, batches)), plain) < 1e-6


def test_dropout_matters_here():
    """Else the test above would say nothing about it: other draws give other gradients."""
    plain, job = gradients(job_with(forgetful(), False, False)), job_with(forgetful(), False, False)
    torch.manual_seed(4)
    accumulate_gradients(job, IDS, 0)
    assert relative_difference([weight.grad for weight in trainable(job.scorer.model)], plain) > 1e-2


@pytest.mark.parametrize(("layers", "batches"), WAYS)
def test_gradients_of_adapters_with_dropout_are_the_plain_ones(layers, batches):
    rules = LoraRules(rank=2, dropout=0.3)
    plain = gradients(job_with(tiny_llama(), False, False, rules))
    assert relative_difference(gradients(job_with(tiny_llama(), layers, batches, rules)), plain) < 1e-6


@pytest.mark.parametrize(("layers", "batches"), WAYS)
def test_gradients_computed_in_bfloat16_are_the_plain_ones(layers, batches):
    plain = gradients(job_with(forgetful(), False, False, dtype="bfloat16"))
    assert relative_difference(gradients(job_with(forgetful(), layers, batches, dtype="bfloat16")), plain) < 1e-6


def test_gradients_through_every_statistic_are_the_plain_ones():
    reference = make_scorer(tiny_llama(seed=7), "float32")
    plain, recomputed = (
        dataclasses.replace(job_with(tiny_llama(), both, both, objective=WantsEverything()), reference=reference) for both in (False, True)
    )
    assert relative_difference(gradients(recomputed), gradients(plain)) < 1e-6


@pytest.mark.parametrize("name", ZOO)
def test_every_architecture_recomputes_its_layers(name):
    plain = gradients(job_with(tiny_model(name), False, False))
    assert relative_difference(gradients(job_with(tiny_model(name), True, True)), plain) < 1e-6


@pytest.mark.parametrize(("layers", "batches"), WAYS)
def test_a_whole_training_ends_with_the_plain_weights(layers, batches):
    def weights(**rules: bool) -> list[torch.Tensor]:
        job = dataclasses.replace(make_job(Dpo(), **rules), scorer=make_scorer(forgetful(), "float32"))
        train(job, Clocks())
        return [weight.detach() for weight in trainable(job.scorer.model)]

    assert relative_difference(weights(gradient_checkpointing=layers, gradient_accumulation=batches), weights()) < 1e-5


@pytest.mark.parametrize("asked", [True, False])
def test_a_training_recomputes_the_layers_of_its_policy_alone_and_only_where_the_track_says_so(asked):
    reference = make_scorer(tiny_llama(), "float32")
    job = dataclasses.replace(make_job(Dpo(), gradient_checkpointing=asked), scorer=fresh_policy(reference, LoraRules(rank=2), seed=0))
    train(job, Clocks())
    recomputes = [any(getattr(layer, "gradient_checkpointing", False) for layer in one.model.modules()) for one in (job.scorer, reference)]
    assert recomputes == [asked, False]


def test_a_model_that_cannot_is_refused():
    model = tiny_llama()
    model.supports_gradient_checkpointing = False
    with pytest.raises(PrefbenchError, match="LlamaForCausalLM cannot compute its layers again"):
        recompute_layers(model)


# ---------------------------------------------------------------- memory


class Alive(TorchDispatchMode):
    """Counts the bytes of all storages that operations make, while they live; ``peak`` is the most at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.now = self.peak = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        for storage in (leaf.untyped_storage() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)):
            if storage._cdata not in self.known:
                self._count(storage)
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        self.known.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, address: int, size: int) -> None:
        self.known.discard(address)
        self.now -= size


def peak_bytes(layers: bool, batches: bool, pairs: int) -> int:
    job = job_with(deep(), layers, batches)
    with Alive() as alive:
        accumulate_gradients(job, np.arange(pairs), 0)
    return alive.peak


def deep() -> torch.nn.Module:
    """Layers enough for what they keep to outweigh their weights."""
    return tiny_llama(num_hidden_layers=6, num_attention_heads=4)


def test_recomputing_takes_less_memory_each_way_and_least_together():
    plain, layers, batches, both = (peak_bytes(*way, pairs=12) for way in [(False, False), *WAYS])
    assert layers < 0.6 * plain
    assert batches < 0.6 * plain
    assert both < 0.8 * min(layers, batches)


def test_one_micro_batchs_graph_is_alive_at_a_time():
    """Twice the pairs, in micro-batches of the same size, keep twice as much unless each graph is made for its own backward."""
    kept, recomputed = (peak_bytes(False, batches, pairs=24) / peak_bytes(False, batches, pairs=12) for batches in (False, True))
    assert kept > 1.8
    assert recomputed < 1.3


def test_nothing_of_a_recomputed_micro_batch_waits_for_its_backward_not_even_its_logits():
    """With a vocabulary as large as this the logits are most of what a forward leaves."""

    def left(batches: bool) -> int:
        job = job_with(tiny_llama(vocab_size=5000), False, batches)
        micros = pair_micro_batches(job, np.arange(24))
        with Alive() as alive:
            graphs = graphs_of(job, micros)
            return alive.now + 0 * len(graphs)

    assert left(True) < 0.1 * left(False)
