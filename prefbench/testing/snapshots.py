"""Copies to compare by: what a value was, bit by bit, before somebody else's code had it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from prefbench.api import Stateful
from prefbench.train.tree import flatten, unflatten

Snapshot = tuple[str, dict[str, tuple[str, tuple[int, ...], bytes]]]


def snapshot(value: Any) -> Snapshot:
    """A nested value of mappings, lists, numbers, texts, arrays and tensors as it is now; equal to another when every bit is."""
    text, tensors = flatten(value)
    return text, {name: (str(tensor.dtype), tuple(tensor.shape), _bytes(tensor)) for name, tensor in tensors.items()}


def generators() -> dict[str, Snapshot]:
    """The generators that everybody draws from, by library."""
    return {
        "torch": snapshot(torch.get_rng_state()),
        "numpy": snapshot(np.random.get_state(legacy=False)),
        "python": snapshot(random.getstate()),
    }


@contextmanager
def generators_put_back() -> Iterator[None]:
    """Move these generators on, to a state that nobody's seed leads to, and put them back in the end."""
    states = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()
    torch.rand(1), np.random.random(), random.random()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def through_a_checkpoint(component: Stateful) -> Any:
    """Its state as it comes back from a checkpoint. Raises PrefbenchError for a state that a checkpoint cannot hold."""
    return unflatten(*flatten(component.state_dict(), f"the state of {component.name}"))


def state_bytes(component: Stateful) -> int:
    """What its state takes in a checkpoint."""
    text, tensors = flatten(component.state_dict())
    return len(text) + sum(tensor.nbytes for tensor in tensors.values())


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
