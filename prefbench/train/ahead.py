"""Micro-batches of the next step, put together by a thread while a GPU is busy with this one."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from prefbench.train.job import TrainJob, pair_micro_batches
from prefbench.train.layout import MicroBatch


class Ahead:
    """Collates one pool ahead of the loop. On a CPU, whose cores are all at work, everything is collated when it is asked for."""

    def __init__(self, job: TrainJob, threaded: bool | None = None) -> None:
        self.job = job
        wanted = job.scorer.model.device.type == "cuda" if threaded is None else threaded
        self._thread = ThreadPoolExecutor(1) if wanted else None
        self._next: tuple[np.ndarray, Future[list[MicroBatch]]] | None = None

    def begin(self, ids: np.ndarray | None) -> None:
        """Start on these pairs, the next pool as far as that is known."""
        if self._thread is not None and ids is not None:
            self._next = ids, self._thread.submit(pair_micro_batches, self.job, ids)

    def take(self, ids: np.ndarray) -> list[MicroBatch]:
        """The micro-batches of these pairs: those that were begun, where they are the same pairs in the same order."""
        begun, self._next = self._next, None
        if begun is not None and np.array_equal(begun[0], ids):
            return begun[1].result()
        return pair_micro_batches(self.job, ids)
