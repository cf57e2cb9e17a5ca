"""Which pairs are offered at each step: the order of the training pairs, n at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prefbench.streams import stream
from prefbench.train.checked import checked_order
from prefbench.train.job import TrainJob


class Epochs:
    """The rows that are trained on, epoch after epoch: all of them, or what the scheduler prepared, which it is asked for here."""

    def __init__(self, job: TrainJob) -> None:
        columns = {name: job.data.columns[name] for name in job.scheduler.needs}
        count, rng = len(job.data), stream(job.seed, "prepare", job.scheduler.name)
        prepared = job.scheduler.prepare(columns, count, rng)
        self.size = job.pool
        self.rows = np.arange(count) if prepared is None else checked_order(job.scheduler, prepared, self.size, count)
        self.shuffled = prepared is None or job.scheduler.reshuffled

    def pools(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Row numbers of n pairs at a time, for ever: shuffled epochs that depend on ``rng`` alone, or the scheduler's own order."""
        waiting = np.empty(0, dtype=np.int64)
        while True:
            while len(waiting) < self.size:
                # Epochs run into each other, so that every pool is full: one that spans two may hold a pair twice.
                epoch = self.rows[rng.permutation(len(self.rows))] if self.shuffled else self.rows
                waiting = np.concatenate([waiting, epoch])
            yield waiting[: self.size]
            waiting = waiting[self.size :]
