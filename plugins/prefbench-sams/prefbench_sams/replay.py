"""Observed arms, and the memory of them that is bounded in bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Arms:
    """k arms whose reward is known; float32, on the CPU, without gradient.

    ``context`` (k, L, F) are hidden states, ``activations`` (k, H) the block means that f_S had for them when they were offered, ``reward`` (k,)
    is what f_S learns and ``missed`` (k,), the reward less f_S's prediction then, what f_S' learns.
    """

    context: torch.Tensor
    activations: torch.Tensor
    reward: torch.Tensor
    missed: torch.Tensor

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def nbytes(self) -> int:
        """Bytes of the four tensors."""
        return sum(int(tensor.nbytes) for tensor in self.tensors().values())

    def tensors(self) -> dict[str, torch.Tensor]:
        """The four by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def joined(cls, parts: Sequence[Arms]) -> Arms:
        """The arms of all parts, in order."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(cls)))


class Replay:
    """Batches of arms, at most ``limit`` bytes of them: one that finds no room takes the place of randomly drawn ones."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.batches: list[Arms] = []
        self.nbytes = 0

    def add(self, batch: Arms, rng: np.random.Generator) -> None:
        """Keep a batch; one that is larger than the limit is not kept."""
        if batch.nbytes > self.limit:
            return
        while self.nbytes + batch.nbytes > self.limit:
            self.nbytes -= self.batches.pop(int(rng.integers(len(self.batches)))).nbytes
        self.batches.append(batch)
        self.nbytes += batch.nbytes

    def sample(self, count: int, rng: np.random.Generator) -> list[Arms]:
        """``count`` different batches, or all where there are fewer."""
        places = rng.choice(len(self.batches), size=min(count, len(self.batches)), replace=False)
        return [self.batches[place] for place in places]

    def state_dict(self) -> dict[str, Any]:
        """The batches end to end, a tensor per field, and the size of each: a file of four tensors, not of thousands."""
        tensors = Arms.joined(self.batches).tensors() if self.batches else {}
        return {"sizes": [len(batch) for batch in self.batches], **tensors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        sizes = state["sizes"]
        # Each part is copied: a view would keep all of the joined tensor in memory when the other batches are gone.
        fields = [[part.clone() for part in state[field.name].split(sizes)] for field in dataclasses.fields(Arms)] if sizes else []
        self.batches = [Arms(*parts) for parts in zip(*fields, strict=True)]
        self.nbytes = sum(batch.nbytes for batch in self.batches)
