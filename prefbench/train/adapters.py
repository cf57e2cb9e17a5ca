"""LoRA: a policy that shares the reference's frozen weights and trains adapters over them, and the plain model that it is merged into."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from transformers.pytorch_utils import Conv1D

from prefbench.config import LoraRules
from prefbench.errors import PrefbenchError
from prefbench.streams import stream_seed
from prefbench.train.forward import Scorer

if TYPE_CHECKING:
    from peft.tuners.lora import Linear as AdaptedLinear
    from transformers import PreTrainedModel

EVERY_LINEAR = "all-linear"
ADAPTER = "default"
"""peft's name for the only adapter of a model."""


def fresh_policy(reference: Scorer, lora: LoraRules | None, seed: int) -> Scorer:
    """A policy to train that starts as the reference: a copy of all its weights, or adapters over the very weights that the reference has."""
    if lora is None:
        return reference.copy()
    return dataclasses.replace(reference, model=with_adapters(reference.model, lora, stream_seed(seed, "lora")))


def with_adapters(model: PreTrainedModel, rules: LoraRules, seed: int) -> PreTrainedModel:
    """The model with float32 adapters, the only parameters that train; its other weights are ``model``'s own memory.

    Hu et al. 2021, arXiv 2106.09685: W x + (alpha / rank) B A x, B zero at the start, A drawn under ``seed``. Raises PrefbenchError for targets
    that name no layer.
    """
    from peft import LoraConfig, get_peft_model  # a quarter of a second, for tracks with adapters only

    adapted = sharing_copy(model)
    settings = LoraConfig(
        r=rules.rank,
        lora_alpha=rules.alpha,  # type: ignore[arg-type]  # annotated as a whole number, used as any
        lora_dropout=rules.dropout,
        target_modules=adapted_layers(model, rules.targets),
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that is going away
        torch.manual_seed(seed)
        get_peft_model(adapted, settings)  # in place: what it returns is a wrapper that would hide transformers' own attributes
    return adapted.train(model.training)


def sharing_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A module tree of its own over the same weights; its parameters are frozen, and whether ``model``'s are stays as it is."""
    shared = {id(weight): torch.nn.Parameter(weight.detach(), requires_grad=False) for weight in model.parameters()}
    return copy.deepcopy(model, shared)


def adapted_layers(model: PreTrainedModel, targets: Sequence[str]) -> list[str]:
    """Full names of the linear layers that ``targets`` mean, the head never among them. Raises PrefbenchError for a name that means none."""
    head = model.get_output_embeddings()
    linear = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear | Conv1D) and layer is not head]
    if tuple(targets) == (EVERY_LINEAR,):
        return linear
    found = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in targets}
    for target, names in found.items():
        if not names:
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise PrefbenchError(
                f"lora.targets: {type(model).__name__} has no linear layer {target!r}",
                f'it has {", ".join(known)}; or write targets = ["{EVERY_LINEAR}"] alone',
            )
    return sorted({name for names in found.values() for name in names})


# ---------------------------------------------------------------- for the disk


def has_adapters(model: torch.nn.Module) -> bool:
    """Whether any layer has one; peft is not imported to find that none has."""
    return any(type(layer).__module__.startswith("peft.") for layer in model.modules())


@torch.no_grad()
def merged(model: PreTrainedModel) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    """The plain model, and weights for it with the adapters added: on the CPU, in the weights' own dtype, tied ones still one tensor.

    ``model`` and the reference, whose memory it shares, stay as they are; nothing is merged in place.
    """
    from peft.tuners.lora import Linear as AdaptedLinear

    plain = sharing_copy(model)
    sums: dict[str, torch.Tensor] = {}
    for name, layer in [(name, layer) for name, layer in plain.named_modules() if isinstance(layer, AdaptedLinear)]:
        sums[f"{name}.weight"] = _merged_weight(layer)
        plain.set_submodule(name, layer.get_base_layer())
    return plain, {**_on_cpu(plain.state_dict()), **sums}


def _merged_weight(layer: AdaptedLinear) -> torch.Tensor:
    total = layer.weight.cpu().float() + layer.get_delta_weight(ADAPTER).cpu().float()
    return total.to(layer.weight.dtype)


def _on_cpu(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU; two names of one tensor stay two names of one tensor, as tied embeddings are."""
    copies: dict[tuple[int, torch.Size], torch.Tensor] = {}
    return {name: copies.setdefault((weight.data_ptr(), weight.shape), weight.cpu()) for name, weight in weights.items()}
