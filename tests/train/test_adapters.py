"""LoRA: the reference's memory is shared and never changed, only adapters train, and a run that was stopped ends with the same bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from prefbench.columns.reference import reference_column
from prefbench.config import LoraRules
from prefbench.engine.tasks import TaskStoppedError
from prefbench.errors import PrefbenchError
from prefbench.objectives.dpo import Dpo
from prefbench.train.adapters import adapted_layers, fresh_policy, has_adapters, merged, with_adapters
from prefbench.train.forward import Scorer, make_scorer
from prefbench.train.job import PairData, TrainJob
from prefbench.train.loop import accumulate_gradients, train
from prefbench.train.meter import Clocks
from prefbench.train.state import LoopState, trainable
from tests.models import random_tokens, tiny_llama, tiny_model, tiny_neox
from tests.train.test_loop import make_job
from tests.train.test_state import ends_with, job_in, stopping_after

RULES = LoraRules(rank=3, alpha=6.0)
TOKENS = random_tokens(24)


@torch.no_grad()
def log_probs(scorer: Scorer) -> torch.Tensor:
    batches = scorer.micro_batches(TOKENS.prompt_ids, [TOKENS.chosen_ids], 200)
    return torch.cat([scorer.token_log_probs(batch) for batch in batches])


def lora_job(folder: Path, reference: Scorer, rules: LoraRules = RULES) -> TrainJob:
    """DPO on pairs whose reference log-probs are the reference's own."""
    data = PairData(TOKENS, *reference_column(reference, "weights", TOKENS, 256, folder).sums())
    job = make_job(Dpo(beta=0.5), steps=10)
    return dataclasses.replace(job, scorer=fresh_policy(reference, rules, seed=0), reference=reference, data=data)


def test_the_policy_starts_as_the_reference_over_the_very_same_memory():
    reference = make_scorer(tiny_llama(), "float32")
    policy = fresh_policy(reference, RULES, seed=0)
    assert torch.equal(log_probs(policy), log_probs(reference))
    ours = {weight.data_ptr() for weight in reference.model.parameters()}
    frozen = [weight for weight in policy.model.parameters() if not weight.requires_grad]
    assert {weight.data_ptr() for weight in frozen} == ours
    assert ours.isdisjoint(weight.data_ptr() for weight in trainable(policy.model))
    assert all(weight.requires_grad for weight in reference.model.parameters())  # a column may train a copy of all of it


def test_the_policy_is_a_model_of_transformers_itself():
    policy = fresh_policy(make_scorer(tiny_llama(), "float32"), RULES, seed=0).model
    assert type(policy) is type(tiny_llama())
    assert type(policy.base_model) is type(tiny_llama().base_model)


def test_training_moves_the_adapters_alone_and_no_bit_of_the_reference(tmp_path):
    reference = make_scorer(tiny_llama(), "float32")
    before, weights = log_probs(reference), [weight.clone() for weight in reference.model.parameters()]
    job = lora_job(tmp_path, reference)
    log = train(job, Clocks())
    assert log.rows[-1]["loss"] < 0.5 < log.rows[0]["loss"]
    assert torch.equal(log_probs(reference), before)
    assert all(torch.equal(new, old) for new, old in zip(reference.model.parameters(), weights, strict=True))
    assert not torch.allclose(log_probs(job.scorer), before, atol=1e-2)


def test_the_gradient_of_an_adapter_is_that_of_the_weight_it_adds_to(tmp_path):
    """d loss / d B at B = 0 is (alpha / rank) (d loss / d W) A^T, by the chain rule; d loss / d W is that of full fine-tuning."""
    reference = make_scorer(tiny_llama(), "float32")
    full, adapted = make_job(Dpo()), dataclasses.replace(make_job(Dpo()), scorer=fresh_policy(reference, RULES, seed=0))
    for job in (full, adapted):
        accumulate_gradients(job, np.arange(8), 0)
    whole = full.scorer.model.model.layers[1].mlp.down_proj.weight.grad
    layer = adapted.scorer.model.model.layers[1].mlp.down_proj
    expected = 2.0 * whole @ layer.lora_A["default"].weight.detach().T
    assert torch.allclose(layer.lora_B["default"].weight.grad, expected, rtol=1e-4, atol=1e-7)


def test_the_seed_decides_the_adapters_and_moves_no_other_stream():
    model = tiny_llama()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (torch.cat([w.flatten() for w in trainable(with_adapters(model, RULES, seed))]) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_linear_layer_but_the_head_has_an_adapter_unless_layers_are_named():
    neox = tiny_neox()
    names = {name.rpartition(".")[2] for name in adapted_layers(neox, ("all-linear",))}
    assert names == {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}
    assert adapted_layers(tiny_llama(), ("q_proj", "layers.1.mlp.up_proj")) == [
        "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj", "model.layers.1.self_attn.q_proj",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["query_key_value", "proj", "lm_head", "embed_tokens", "all-linear"])
def test_a_name_of_no_layer_is_refused_with_the_names_that_there_are(name):
    with pytest.raises(PrefbenchError, match=f"no linear layer '{name}'") as caught:
        adapted_layers(tiny_llama(), ("q_proj", name))
    assert "down_proj, gate_proj, k_proj" in caught.value.hint


# ---------------------------------------------------------------- checkpoints of a run that goes on


def test_a_checkpoint_holds_the_adapters_and_no_frozen_weight(tmp_path):
    state = LoopState.fresh(lora_job(tmp_path, make_scorer(tiny_llama(), "float32")), Clocks())
    weights = state.tree()["weights"]
    assert {name.split(".")[-3] for name in weights if "lora" in name} == {"lora_A", "lora_B"}
    assert not [name for name in weights if "base_layer" in name or "embed" in name or "norm" in name]
    assert sum(len(group["params"]) for group in state.optimiser.param_groups) == len([name for name in weights if "lora" in name])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("stop", [1, 3])
def test_six_steps_are_three_steps_a_stop_and_three_more(tmp_path, dropout, stop):
    def job(folder: Path) -> TrainJob:
        rules = dataclasses.replace(RULES, dropout=dropout)
        made = job_in(folder, tiny_llama())
        return dataclasses.replace(made, scorer=fresh_policy(made.scorer, rules, seed=0))

    whole = ends_with(job(tmp_path / "whole"))
    with pytest.raises(TaskStoppedError):
        train(dataclasses.replace(job(tmp_path), report=stopping_after(stop)), Clocks())
    torch.manual_seed(99)  # a new process has another state of torch's stream
    assert ends_with(job(tmp_path)) == whole


def test_dropout_of_the_adapters_changes_the_training(tmp_path):
    """Else the test above would say nothing about it."""
    reference, rules = make_scorer(tiny_llama(), "float32"), dataclasses.replace(RULES, dropout=0.3)
    plain, dropped = (lora_job(tmp_path, reference, own) for own in (RULES, rules))
    for job in (plain, dropped):
        train(job, Clocks())
    assert not torch.equal(log_probs(plain.scorer), log_probs(dropped.scorer))


# ---------------------------------------------------------------- merging


@pytest.mark.parametrize("name", ["llama", "qwen2"], ids=["untied", "tied"])
def test_merged_weights_are_the_sums_that_one_would_write_down_and_the_shared_ones_stay(name):
    model = tiny_model(name)
    adapted = with_adapters(model, RULES, seed=0)
    for weight in trainable(adapted):
        torch.nn.init.normal_(weight, std=0.2)
    before = {key: weight.clone() for key, weight in adapted.state_dict().items()}
    plain, weights = merged(adapted)
    layer = adapted.model.layers[0].self_attn.v_proj
    low_rank = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = model.model.layers[0].self_attn.v_proj.weight + 6.0 / 3 * low_rank
    assert torch.allclose(weights["model.layers.0.self_attn.v_proj.weight"], expected, rtol=1e-6, atol=1e-7)
    assert weights.keys() == model.state_dict().keys()
    assert not has_adapters(plain)
    assert has_adapters(adapted)
    assert all(torch.equal(weight, before[key]) for key, weight in adapted.state_dict().items())
    tied = weights["lm_head.weight"].data_ptr() == weights["model.embed_tokens.weight"].data_ptr()
    assert tied == model.config.tie_word_embeddings


def test_adapters_over_bfloat16_weights_are_float32_and_merge_into_bfloat16():
    adapted = with_adapters(tiny_llama().bfloat16(), RULES, seed=0)
    assert {weight.dtype for weight in trainable(adapted)} == {torch.float32}
    _, weights = merged(adapted)
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}


def test_lora_trains_over_bfloat16_weights_in_bfloat16(tmp_path):
    job = lora_job(tmp_path, make_scorer(tiny_llama().bfloat16(), "bfloat16"))
    assert train(job, Clocks()).rows[-1]["loss"] < 0.5
