"""Which pairs a hinge still trains, by length: what the paper's account of short answers (section 6.2) would show in a log."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from prefbench.api import PairBatch

NOT_YET: Mapping[str, float] = {"active_share_short": math.nan, "active_share_long": math.nan}
"""The shares before the first step."""


def active_shares(active: torch.Tensor, batch: PairBatch) -> dict[str, float]:
    """Share of active pairs among those whose chosen answer is at most, and among those whose is at least, the batch's median length.

    ``active`` is bool, shape (B,). A pair of exactly the median length counts in both, so that neither share is ever of nothing.
    """
    median = batch.chosen_tokens.median()
    sides = {"active_share_short": batch.chosen_tokens <= median, "active_share_long": batch.chosen_tokens >= median}
    return {name: active[side].double().mean().item() for name, side in sides.items()}
