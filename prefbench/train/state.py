"""All that changes while a policy trains: what a checkpoint holds, so that a run that goes on ends as if it had never stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefbench.api import Pool, Scheduler
from prefbench.store.sealed import read_or_set_aside, read_tensors, write_tensors
from prefbench.streams import stream, stream_seed
from prefbench.train.checked import checked_pool
from prefbench.train.job import TrainJob
from prefbench.train.log import StepLog
from prefbench.train.meter import Clocks
from prefbench.train.pools import Epochs
from prefbench.train.seen import Seen
from prefbench.train.tree import flatten, unflatten

TREE_VERSION = 3
"""Raised when a checkpoint's tree changes its meaning: an older one is passed over."""
SHARE = 0.02
"""Of the training time that may go into writing checkpoints."""
LATEST = 300.0
"""Seconds after which the first checkpoint is due, however large it is."""
SPEED = 2e8
"""Bytes of weights and moments that the first checkpoint is expected to write in a second: until there is one, nobody knows."""


@dataclass
class LoopState:
    """A training run between two steps; ``step`` is the next one, ``previous`` the pool and the choice that the scheduler has yet to observe.

    ``drawn`` counts the pools that were taken from the epochs: a scheduler may draw its own; ``waiting`` is one that was looked at, and not taken.
    """

    job: TrainJob
    optimiser: torch.optim.Optimizer
    epochs: Epochs
    pools: Iterator[np.ndarray]
    select_rng: np.random.Generator
    pool_rng: np.random.Generator
    log: StepLog
    clocks: Clocks
    seen: Seen
    step: int = 0
    drawn: int = 0
    waiting: np.ndarray | None = None
    previous: tuple[Pool, np.ndarray] | None = None

    @classmethod
    def fresh(cls, job: TrainJob, clocks: Clocks) -> LoopState:
        """Before the first step. torch's global stream, which dropout draws from, is the cell's own too."""
        torch.manual_seed(stream_seed(job.seed, "dropout"))
        rules, epochs = job.rules, Epochs(job)
        return cls(
            job=job,
            # Plain AdamW: weight decay 0 by default, because the reference column already says how far the policy may go.
            optimiser=torch.optim.AdamW(trainable(job.scorer.model), lr=job.learning_rate, weight_decay=rules.weight_decay, fused=True),
            epochs=epochs,
            pools=epochs.pools(stream(job.seed, "data")),
            select_rng=stream(job.seed, "select", job.scheduler.name),
            pool_rng=stream(job.seed, "pool", job.scheduler.name),
            log=StepLog.for_pairs(job.data.tokens),
            clocks=clocks,
            seen=Seen.of(job),
        )

    def next_pool(self) -> np.ndarray:
        """Row numbers of the next n pairs: the scheduler's own draw, or the next of the epochs."""
        scheduler, size = self.job.scheduler, self.job.pool
        with self.clocks.time("select"):
            own = scheduler.next_pool(size, self.pool_rng)
        if own is not None:
            return checked_pool(scheduler, own, size, len(self.job.data))
        self.drawn += 1
        known, self.waiting = self.waiting, None
        return next(self.pools) if known is None else known

    def upcoming(self) -> np.ndarray | None:
        """The pool after this one; None where the scheduler draws its own, which it does when it is due."""
        if type(self.job.scheduler).next_pool is not Scheduler.next_pool:
            return None
        if self.waiting is None:
            self.waiting = next(self.pools)
        return self.waiting

    # ---------------------------------------------------------------- to a tree and back

    def tree(self) -> dict[str, Any]:
        """Everything, nested; the pools are left out, because their order follows from the seed and the number of steps."""
        cuda = torch.cuda.is_available()
        return {
            "step": self.step,
            "drawn": self.drawn,
            **model_tree(self.job.scorer.model, self.optimiser),
            "select_rng": self.select_rng.bit_generator.state,
            "pool_rng": self.pool_rng.bit_generator.state,
            "torch_rng": [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if cuda else [])],
            "objective": self.job.objective.state_dict(),
            "scheduler": self.job.scheduler.state_dict(),
            "previous": None if self.previous is None else [vars(self.previous[0]), self.previous[1]],
            "log": self.log.state_dict(),
            "seen": self.seen.values,
            "seconds": self.clocks.seconds,
        }

    def restore(self, tree: dict[str, Any]) -> None:
        """Become the run that ``tree`` was taken from."""
        self.step, self.drawn = tree["step"], tree["drawn"]
        restore_model(self.job.scorer.model, self.optimiser, tree)
        self.select_rng.bit_generator.state = tree["select_rng"]
        self.pool_rng.bit_generator.state = tree["pool_rng"]
        torch.set_rng_state(tree["torch_rng"][0])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(tree["torch_rng"][1])
        self.pools = islice(self.pools, self.drawn, None)  # preparing them asks the scheduler, whose state comes after
        self.job.objective.load_state_dict(tree["objective"])
        self.job.scheduler.load_state_dict(tree["scheduler"])
        self.previous = None if tree["previous"] is None else (Pool(**tree["previous"][0]), tree["previous"][1])
        self.log.load_state_dict(tree["log"])
        self.seen.values = tree["seen"]
        self.clocks.seconds |= tree["seconds"]


# ---------------------------------------------------------------- a model and its optimiser


def model_tree(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Trained weights by name, and what the optimiser remembers of each parameter by its number. Learning rates follow from the step."""
    moments = optimiser.state_dict()["state"]
    return {"weights": dict(_weights(model)), "optimiser": {str(number): state for number, state in moments.items()}}


@torch.no_grad()
def restore_model(model: torch.nn.Module, optimiser: torch.optim.Optimizer, tree: Mapping[str, Any]) -> None:
    """Put back what ``model_tree`` took."""
    for name, weight in _weights(model):
        weight.copy_(tree["weights"][name])
    moments = {int(number): state for number, state in tree["optimiser"].items()}
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that training changes: all of them, or those of the adapters."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _weights(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Trained parameters and buffers by name, each once: tied weights have one name here. Frozen weights are on disk already."""
    yield from ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
    yield from model.named_buffers()


# ---------------------------------------------------------------- on disk


@dataclass
class Checkpoint:
    """A training run's checkpoint file, good for the cell's train key alone. Writing takes at most ``SHARE`` of the time."""

    path: Path
    key: str
    _written: float = field(default_factory=time.monotonic)
    _seconds: float = 0.01
    """When it was last written, and how long that took."""

    @classmethod
    def of(cls, path: Path, key: str, model: torch.nn.Module) -> Checkpoint:
        """One of a model on its device: its first writing is put off according to the model's size, and for LATEST seconds at most."""
        weights = trainable(model)
        seconds = sum(3 * weight.nbytes for weight in weights) / SPEED
        return cls(path, f"{key}.{weights[0].device.type}", _seconds=min(max(0.01, seconds), SHARE * LATEST))

    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self._written > self._seconds / SHARE

    def write(self, state: LoopState) -> None:
        """Replace the checkpoint by one of the present state. Raises StorageError, and PrefbenchError for a plugin's state that no file can hold."""
        start = time.monotonic()
        with state.clocks.time("io"):
            write_tree(self.path, self.key, state.tree())
        self._written = time.monotonic()
        self._seconds = self._written - start

    def resume(self, state: LoopState) -> bool:
        """Go on from the checkpoint, where there is a whole one of this key; whether there was."""
        tree = read_tree(self.path, self.key)
        if tree is not None:
            state.restore(tree)
        return tree is not None

    def remove(self) -> None:
        """The run is finished."""
        self.path.unlink(missing_ok=True)


def write_tree(path: Path, key: str, tree: Mapping[str, Any]) -> None:
    """One sealed file of a nested state, good for ``key`` alone."""
    text, tensors = flatten({"key": f"{TREE_VERSION}.{key}", "state": tree}, "checkpoint")
    write_tensors(path, tensors, text)


def read_tree(path: Path, key: str) -> dict[str, Any] | None:
    """The nested state; None where there is no whole one of this key. A damaged one is set aside."""
    found = read_or_set_aside(path, read_tensors)
    content = unflatten(found[1], found[0]) if found else {}
    return content["state"] if content.get("key") == f"{TREE_VERSION}.{key}" else None
