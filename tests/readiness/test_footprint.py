"""The memory estimate: against what autograd really keeps, and against sums made by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from prefbench.config import LoraRules, ModelRules, TrainRules
from prefbench.readiness.footprint import LOSS, Shape, footprint
from prefbench.train.adapters import with_adapters
from tests.models import ZOO, tiny_llama

FACTOR = 2.0
"""How far the estimate may be from what was counted."""


def kept_bytes(model: PreTrainedModel, sequences: int, length: int) -> int:
    """Bytes that autograd keeps of a forward without the head, weights left out, each storage once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model.base_model(input_ids=torch.zeros(sequences, length, dtype=torch.long), use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("family", sorted(ZOO))
@pytest.mark.parametrize("length", [32, 128])
def test_activations_are_about_what_is_kept_in_every_family(tmp_path: Path, family: str, length: int) -> None:
    config_class, changes = ZOO[family]
    sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 86, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = config_class(**{**sizes, "eos_token_id": 1, "bos_token_id": None, "pad_token_id": 0, **changes})
    attention = "eager" if family == "gemma2" else "sdpa"
    config.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention)
    shape = Shape.read(tmp_path, ModelRules(), None)
    estimated = 4 * 3 * length * shape.layers * shape.kept_per_token(attention, length)
    assert 1 / FACTOR < estimated / kept_bytes(model, 3, length) < FACTOR


def test_weights_and_adapters_are_counted_exactly(tmp_path: Path) -> None:
    model, lora = tiny_llama(), LoraRules(rank=3)
    model.config.save_pretrained(tmp_path)
    whole = Shape.read(tmp_path, ModelRules(), None)
    assert whole.weights == whole.trained == sum(parameter.numel() for parameter in model.parameters())
    adapted = with_adapters(model, lora, 0)
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert Shape.read(tmp_path, ModelRules(), lora).trained == trained


SHAPE = Shape(weights=1000, trained=1000, layers=2, hidden=10, queries=10, keys=10, inner=20, heads=2, vocabulary=100)
RULES = TrainRules(pool=4, max_length=50, micro_batch_tokens=100)


def test_full_tuning_holds_policy_reference_gradients_and_two_moments() -> None:
    found = footprint(SHAPE, RULES, ModelRules(), "float32")
    assert (found.policy, found.reference, found.gradients, found.moments) == (4000, 4000, 4000, 8000)
    assert found.activations == round(4 * (4 * 2 * 50) * 2 * 1.2 * (60 + 30 + 20 + 80))
    assert found.total == round(LOSS * (20_000 + found.activations + found.logits))
    assert footprint(SHAPE, RULES, ModelRules(), "bfloat16").policy == 4000 + 2000


def test_adapters_share_the_references_weights() -> None:
    found = footprint(dataclasses.replace(SHAPE, trained=50), RULES, ModelRules(weights="bfloat16"), "bfloat16")
    assert (found.policy, found.reference, found.gradients, found.moments) == (200, 2000, 200, 400)


def test_accumulation_keeps_one_micro_batch_and_checkpointing_the_inputs_of_the_layers() -> None:
    everything = footprint(SHAPE, RULES, ModelRules(), "float32").activations
    accumulated = footprint(SHAPE, dataclasses.replace(RULES, gradient_accumulation=True), ModelRules(), "float32").activations
    assert everything == 4 * accumulated
    checkpointed = footprint(SHAPE, dataclasses.replace(RULES, gradient_checkpointing=True), ModelRules(), "float32").activations
    assert checkpointed == 4 * 400 * 2 * 10 + accumulated // 2


def test_logits_are_bounded_by_the_block_that_they_are_made_in() -> None:
    wide = dataclasses.replace(SHAPE, vocabulary=10_000_000)
    assert footprint(wide, RULES, ModelRules(), "float32").logits == 3 * (1 << 28)
    assert footprint(SHAPE, RULES, ModelRules(), "float32").logits == 3 * 40_000 + 2 * 40_000 * 3
