"""How much memory training a track's model takes at most, from its configuration alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from prefbench.config import LoraRules, ModelRules, TrainRules
from prefbench.train.adapters import adapted_layers
from prefbench.train.head import LOGIT_BYTES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FULL, HALF = 4, 2
"""Bytes of a number in float32 and in bfloat16."""
MOMENTS = 2
"""Numbers that AdamW remembers of a weight."""
LOSS = 1.2
"""Memory taken per memory needed: short-lived results, and holes between allocations; see benchmarks/memory.py."""
GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory: counts of weights, and widths in numbers per token."""

    weights: int
    trained: int
    layers: int
    hidden: int
    queries: int
    keys: int
    inner: int
    heads: int
    vocabulary: int

    @classmethod
    def read(cls, folder: Path, rules: ModelRules, lora: LoraRules | None) -> Shape:
        """From the folder's config.json: the model is made without memory for its weights."""
        model = _without_memory(folder, rules.trust_remote_code)
        weights = _count(model)
        return cls(weights, _adapter_weights(model, lora) if lora else weights, **_widths(model.config.get_text_config()))

    def kept_per_token(self, attention: str, length: int) -> float:
        """Numbers that one layer keeps of one token for the backward: about what was counted on models of eight families (docs/commands/doctor.md).

        Attention without a fused kernel keeps its scores as well.
        """
        kept = 1.2 * (6 * self.hidden + 3 * self.queries + 2 * self.keys + 4 * self.inner)
        return kept + (2.5 * self.heads * length if attention == "eager" else 0.0)


def judge_bytes(folder: Path, weights: str) -> int:
    """Bytes of the weights of a judge on this machine, of dtype ``weights``."""
    return getattr(torch, weights).itemsize * _count(_without_memory(folder, trust_remote_code=False))  # type: ignore[no-any-return]


def _without_memory(folder: Path, trust_remote_code: bool) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    model.tie_weights()  # transformers 5.0 leaves a head without memory untied, which would count it twice
    return model


def _count(model: PreTrainedModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _adapter_weights(model: PreTrainedModel, lora: LoraRules) -> int:
    """Of A and B of every layer that gets an adapter."""
    shapes = [model.get_submodule(name).weight.shape for name in adapted_layers(model, lora.targets)]
    return sum(lora.rank * sum(shape) for shape in shapes)


def _widths(config: Any) -> dict[str, int]:
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return {
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "queries": heads * width,
        "keys": (getattr(config, "num_key_value_heads", None) or heads) * width,
        "inner": getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        "heads": heads,
        "vocabulary": config.vocab_size,
    }


@dataclass(frozen=True)
class Footprint:
    """Bytes at the peak of a training step, by what they hold."""

    policy: int
    reference: int
    gradients: int
    moments: int
    activations: int
    logits: int
    judge: int = 0

    @property
    def total(self) -> int:
        """All together, with what is lost between allocations."""
        parts: list[int] = list(vars(self).values())
        return round(LOSS * sum(parts))

    def in_words(self) -> str:
        """``20.1 GiB = 1.2 x (policy 2.0 + reference 2.0 + ...)``; what is not there is left out."""
        parts = " + ".join(f"{name} {size / GIB:.1f}" for name, size in vars(self).items() if size)
        return f"{self.total / GIB:.1f} GiB = {LOSS} x ({parts})"


def footprint(shape: Shape, train: TrainRules, model: ModelRules, dtype: str) -> Footprint:
    """The most that a step takes: every pair of the pool trained on, and every one of them as long as the track allows.

    A policy with adapters shares the reference's weights. Under bfloat16, float32 weights are in memory in both dtypes. Without gradient
    accumulation the graphs of all micro-batches of a step are kept at once. A scheduler's own networks are not counted.
    """
    kept = FULL if model.weights == "float32" else HALF
    cast = HALF * shape.weights if dtype == "bfloat16" and kept == FULL else 0
    adapters = shape.trained < shape.weights
    own = FULL * shape.trained if adapters else kept * shape.weights
    return Footprint(
        policy=own + cast,
        reference=kept * shape.weights,
        gradients=FULL * shape.trained,
        moments=MOMENTS * FULL * shape.trained,
        activations=_activations(shape, train, model.attention, dtype),
        logits=_logits(shape, train),
    )


def _activations(shape: Shape, train: TrainRules, attention: str, dtype: str) -> int:
    number = FULL * (0.8 if dtype == "bfloat16" else 1.0)  # under autocast some are halved: .7 to .9 of all were counted
    micro, kept = _tokens_at_once(train)
    layer = shape.kept_per_token(attention, train.max_length)
    if train.gradient_checkpointing:
        return round(FULL * kept * shape.layers * shape.hidden + number * micro * layer)
    return round(number * kept * shape.layers * layer)


def _logits(shape: Shape, train: TrainRules) -> int:
    """Of one block, forward and backward; micro-batches that need one block only keep theirs."""
    micro, kept = _tokens_at_once(train)
    block = FULL * micro * shape.vocabulary
    others = 2 * block * (kept // micro - 1) if block <= LOGIT_BYTES else 0
    return 3 * min(block, LOGIT_BYTES) + others


def _tokens_at_once(train: TrainRules) -> tuple[int, int]:
    """(tokens of a micro-batch, tokens whose graphs are kept at once)."""
    step = step_tokens(train)
    micro = min(step, max(train.micro_batch_tokens, train.max_length))
    return micro, micro if train.gradient_accumulation else step


def step_tokens(train: TrainRules) -> int:
    """Tokens of a step in which every pair of the pool is trained on, at its longest."""
    return train.pool * 2 * train.max_length
