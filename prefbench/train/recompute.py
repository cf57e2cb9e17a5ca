"""Memory bought with time: activations that are computed again for the backward instead of being kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.utils.checkpoint import checkpoint

from prefbench.errors import PrefbenchError
from prefbench.train.forward import Scorer
from prefbench.train.layout import MicroBatch
from prefbench.train.statistics import sequence_values

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def recompute_layers(model: PreTrainedModel) -> None:
    """From now on a training forward keeps what goes into each layer, not what happens inside. Raises PrefbenchError for a model that cannot."""
    if not model.supports_gradient_checkpointing:
        message = f"{type(model).__name__} cannot compute its layers again in the backward"
        raise PrefbenchError(message, "write gradient_checkpointing = false under [train]; gradient_accumulation saves memory too")
    # transformers 5 renames it on the way to 6; the old name warns at every training.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def recomputed_values(scorer: Scorer, reference: Scorer | None, names: Sequence[str], batch: MicroBatch) -> torch.Tensor:
    """``sequence_values`` that keeps no graph: the backward runs the forward again, with the same draws of dropout."""

    def values(tokens: torch.Tensor) -> torch.Tensor:
        return sequence_values(scorer, reference, names, dataclasses.replace(batch, tokens=tokens))

    # The tokens are handed over apart, because a GPU's random state is kept for the devices of tensor arguments only.
    found: torch.Tensor = checkpoint(values, batch.tokens, use_reentrant=False)
    return found
