"""What is known of each training pair from the last time that it was scored or trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from prefbench.api import PairBatch, Scheduler
from prefbench.train.graphs import kept_tokens
from prefbench.train.job import KEPT, TrainJob

SCALARS = ("loss", "margin", "chosen_log_prob")
"""The statistics that are a number per pair."""


@dataclass
class Seen:
    """Statistics of all N pairs, float64, shape (N,), NaN where a pair was never seen. Nothing is kept of what nobody reads.

    They are read by schedulers that take them stale; and where graphs of several pairs are kept together, to put together pairs of like score.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, job: TrainJob) -> Seen:
        """Nothing is known yet."""
        scalars = [name for name in job.scheduler.wants if name in SCALARS]
        together = job.selection == KEPT and kept_tokens(job) > 1
        first = scalars[:1] if together else []
        names = scalars if takes_stale(job.scheduler) else first
        return cls({name: np.full(len(job.data), np.nan) for name in names})

    def unknown(self, ids: np.ndarray) -> np.ndarray:
        """Which of these pairs were never seen; a mask."""
        unknown: np.ndarray = np.any([np.isnan(values[ids]) for values in self.values.values()], axis=0)
        return unknown

    def order(self, ids: np.ndarray) -> list[int] | None:
        """Places of these pairs by their score, those never seen last; None where scores are not kept."""
        scores = next(iter(self.values.values()), None)
        return None if scores is None else [int(place) for place in np.argsort(scores[ids], kind="stable")]

    def remember(self, ids: np.ndarray, statistics: Mapping[str, np.ndarray]) -> None:
        """What a scoring found."""
        for name, values in self.values.items():
            values[ids] = statistics[name]

    def remember_trained(self, ids: np.ndarray, batch: PairBatch, losses: torch.Tensor) -> None:
        """What a training step's forward found, before its update: reading it makes the host wait for a GPU, where somebody wants it."""
        if self.values:
            found = {"loss": losses, "margin": batch.margin, "chosen_log_prob": batch.policy_chosen}
            self.remember(ids, {name: found[name].detach().double().cpu().numpy() for name in self.values})


def takes_stale(scheduler: Scheduler) -> bool:
    """Whether a scheduler's statistics may be those of earlier steps; hidden states are always those of the present policy."""
    return scheduler.stale and bool(scheduler.wants) and set(scheduler.wants) <= set(SCALARS)
