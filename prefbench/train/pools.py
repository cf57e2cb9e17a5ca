"""Which pairs are offered at each step: the order of the training pairs, n at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prefbench.streams import stream
from prefbench.train.checked import checked_order
from prefbench.train.job import TrainJob


def draw_pools(job: TrainJob) -> Iterator[np.ndarray]:
    """Row numbers of n pairs at a time: shuffled epochs that depend on the seed alone, or the scheduler's own order again and again.

    The scheduler is asked for its order here, before the first pool is drawn.
    """
    count, n = len(job.data), min(job.rules.pool, len(job.data))
    prepared = job.scheduler.prepare(job.data.columns, count, stream(job.seed, "prepare", job.scheduler.name))
    return _pools(job.seed, count, n, None if prepared is None else checked_order(job.scheduler, prepared, n, count))


def _pools(seed: int, count: int, n: int, prepared: np.ndarray | None) -> Iterator[np.ndarray]:
    shuffle = stream(seed, "data")
    waiting = np.empty(0, dtype=np.int64)
    while True:
        while len(waiting) < n:
            # A pool that spans two epochs may hold a pair twice only if an epoch is shorter than a pool, which n <= N excludes.
            epoch = shuffle.permutation(count) if prepared is None else prepared
            waiting = np.concatenate([waiting, epoch])
        yield waiting[:n]
        waiting = waiting[n:]
