"""Pools of made-up numbers, a bandit whose good arms make the loss fall, and a checkpoint's way with state."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from prefbench_sams import Sams

from prefbench.api import Pool

N, BLOCKS, WIDTH = 16, 2, 8


def pool(seed: int, size: int = N, states: str = "hidden_states", **statistics: np.ndarray) -> Pool:
    """A pool of normal draws, 2 blocks of width 8; ``statistics`` replace its own."""
    rng = np.random.default_rng(seed)
    drawn = {name: rng.normal(size=size) for name in ("loss", "margin", "chosen_log_prob")}
    drawn[states] = rng.normal(size=(size, 2, BLOCKS, WIDTH)).astype(np.float32)
    return Pool(np.arange(size), {}, {**drawn, **statistics}, progress=0.0)


def play(scheduler: Sams, rounds: range, rng: np.random.Generator, previous: Any = None) -> list[tuple[Pool, np.ndarray]]:
    """The loop as prefbench runs it: observe, then select; the pool and the choice of every round."""
    steps = []
    for number in rounds:
        offered = pool(number, states=scheduler.wants[-1])
        if previous is not None:
            scheduler.observe(*previous, offered)
        size = max(1, round(scheduler.ratio * len(offered)))
        previous = (offered, scheduler.select(offered, size, rng))
        steps.append(previous)
    return steps


def share_of_good_arms(scheduler: Sams, seed: int, rounds: int, shuffled: bool = False) -> np.ndarray:
    """The share of good arms in each round's choice, (rounds,), where half of every pool is good.

    Good arms differ by the mean of their hidden states; trained on alone, they make the next pool's loss fall by two nats, bad ones make it
    rise by two. ``shuffled`` hands every arm the hidden states of another. Margins and log-probs tell nothing.
    """
    world, rng = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    direction = np.random.default_rng(0).normal(size=WIDTH)
    direction /= np.linalg.norm(direction)
    previous: Any = None
    level, shares = 0.0, []
    for _ in range(rounds):
        good = world.permutation(N) < N // 2
        states = 0.5 * world.normal(size=(N, 2, BLOCKS, WIDTH)) + np.where(good, 1, -1)[:, None, None, None] * direction
        states = states[world.permutation(N)] if shuffled else states
        loss = level + 0.1 * world.normal(size=N)
        offered = pool(int(world.integers(2**32)), loss=loss, hidden_states=states.astype(np.float32))
        if previous is not None:
            scheduler.observe(*previous, offered)
        chosen = scheduler.select(offered, N // 4, rng)
        previous = (offered, chosen)
        shares.append(float(good[chosen].mean()))
        level -= 2 * (2 * shares[-1] - 1)
    return np.array(shares)


def through_a_file(state: Any) -> Any:
    """State as a checkpoint holds it: tensors by name, contiguous and apart from one another, and JSON for the rest. Nothing else passes."""
    tensors: dict[str, torch.Tensor] = {}
    return joined(json.loads(json.dumps(parted(state, "state", tensors))), tensors)


def parted(value: Any, where: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[where] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"$tensor": where}
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value), where
        return {key: parted(item, f"{where}.{key}", tensors) for key, item in value.items()}
    return value


def joined(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    return tensors[value["$tensor"]] if "$tensor" in value else {key: joined(item, tensors) for key, item in value.items()}
