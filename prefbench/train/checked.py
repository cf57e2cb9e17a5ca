"""What a scheduler and an objective give the loop, checked at every step: a stranger's mistake is named, and never trained on."""

from __future__ import annotations

import numpy as np
import torch

from prefbench.api import Objective, Scheduler
from prefbench.errors import PrefbenchError, shortened


def checked_selection(scheduler: Scheduler, positions: np.ndarray, size: int, n: int) -> np.ndarray:
    """The positions, or PrefbenchError when a scheduler gave others than ``size`` distinct ones in [0, n)."""
    hint = "select(pool, size, rng) returns an array of `size` positions in the pool"
    return _exactly(size, n, positions, f"scheduler {scheduler.name!r} selected", "positions", hint)


def checked_pool(scheduler: Scheduler, rows: np.ndarray, size: int, count: int) -> np.ndarray:
    """What ``next_pool`` gave, or PrefbenchError unless it is ``size`` distinct row numbers in [0, count)."""
    hint = "next_pool(size, rng) returns an array of `size` row numbers of the training pairs, or None"
    return _exactly(size, count, rows, f"scheduler {scheduler.name!r} drew the pool", "row numbers", hint)


def _exactly(size: int, count: int, rows: np.ndarray, who: str, what: str, hint: str) -> np.ndarray:
    """``size`` distinct integers in [0, count), or PrefbenchError."""
    rows = np.asarray(rows)
    if rows.shape == (size,) and _are_distinct_rows(rows, count):
        return rows.astype(np.int64)
    raise PrefbenchError(f"{who} {shortened(rows.tolist())} where {size} distinct {what} in [0, {count}) are due", hint, exit_code=1)


def checked_order(scheduler: Scheduler, rows: np.ndarray, least: int, count: int) -> np.ndarray:
    """What ``prepare`` gave, or PrefbenchError unless it is at least a pool of distinct row numbers in [0, count)."""
    rows = np.asarray(rows)
    if rows.ndim == 1 and len(rows) >= least and _are_distinct_rows(rows, count):
        return rows.astype(np.int64)
    raise PrefbenchError(
        f"scheduler {scheduler.name!r} prepared {rows.size} row numbers of type {rows.dtype} "
        f"where at least {least} distinct ones in [0, {count}) are due",
        "prepare(columns, size, rng) returns an array of distinct row numbers, at least a pool of them, or None",
        exit_code=1,
    )


def _are_distinct_rows(rows: np.ndarray, count: int) -> bool:
    """Whether these are integers, none twice, each in [0, count); a mask of booleans, or fractions, would be read as other rows."""
    return bool(np.issubdtype(rows.dtype, np.integer) and len(np.unique(rows)) == len(rows) and rows.min() >= 0 and rows.max() < count)


def checked_losses(objective: Objective, losses: torch.Tensor, size: int) -> torch.Tensor:
    """The losses, or PrefbenchError when an objective gave anything but one floating-point number per pair, with a gradient where one is due."""
    if isinstance(losses, torch.Tensor) and losses.shape == (size,):
        return _with_gradient(objective, losses)
    shape = tuple(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
    raise PrefbenchError(
        f"objective {objective.name!r} returned {shape} where one loss per pair, shape ({size},), is due",
        "return the losses unreduced: the core takes the mean",
        exit_code=1,
    )


def _with_gradient(objective: Objective, losses: torch.Tensor) -> torch.Tensor:
    """The losses, or PrefbenchError when no gradient could flow through them."""
    if not losses.is_floating_point():
        wrong = f"losses of type {losses.dtype}, where floating-point numbers are due"
    elif torch.is_grad_enabled() and not losses.requires_grad:
        wrong = "losses without a gradient: the policy would not be trained"
    else:
        return losses
    hint = "compute them from batch.policy_chosen and batch.policy_rejected with torch, without detach, item or numpy"
    raise PrefbenchError(f"objective {objective.name!r} returned {wrong}", hint, exit_code=1)
