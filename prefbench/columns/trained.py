"""Policies that are trained for a column's sake."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from prefbench.api import Objective, PairBatch
from prefbench.config import LoraRules, TrainRules
from prefbench.errors import PrefbenchError
from prefbench.schedulers.uniform import Uniform
from prefbench.streams import stream_seed
from prefbench.train.adapters import fresh_policy
from prefbench.train.forward import Scorer
from prefbench.train.graphs import gather, graphs_of
from prefbench.train.job import PairData, TrainJob, mismatched_log_ratios, pair_batch, pair_micro_batches
from prefbench.train.loop import DivergedError, train
from prefbench.train.meter import Clocks


@dataclass(frozen=True)
class Training:
    """What decides how a column's policies are trained: the objective and the learning rate of a row of the board, the track's rules and adapters."""

    objective: Callable[[], Objective]
    learning_rate: float
    rules: TrainRules
    lora: LoraRules | None = None

    def rules_for(self, pairs: int, epochs: float) -> TrainRules:
        """The track's, with the steps that ``epochs`` over so many pairs take, and as large a share of them for the warm-up."""
        steps = max(1, round(epochs * pairs / min(self.rules.pool, pairs)))
        return dataclasses.replace(self.rules, steps=steps, warmup=round(self.rules.warmup * steps / self.rules.steps))


@dataclass(frozen=True)
class Trained:
    """A policy after its training, with all the pairs."""

    job: TrainJob

    def losses(self, rows: Sequence[int]) -> np.ndarray:
        """The objective's loss of each of these pairs, float64, shape (len(rows),)."""
        with torch.no_grad():
            losses: np.ndarray = self.job.objective.per_pair(self._batch(rows)).double().cpu().numpy()
        return losses

    def margins(self, rows: Sequence[int]) -> np.ndarray:
        """The raw log-ratio gap of each of these pairs, nats, float64, shape (len(rows),)."""
        margins: np.ndarray = self._batch(rows).margin.cpu().numpy()
        return margins

    @torch.no_grad()
    def _batch(self, rows: Sequence[int]) -> PairBatch:
        job, ids = self.job, np.asarray(rows, dtype=np.int64)
        leaves = gather(graphs_of(job, pair_micro_batches(job, ids)), 2 * len(ids))
        return pair_batch(job, ids, leaves, job.rules.steps - 1, mismatched_log_ratios(job, ids))


def train_policy(
    training: Training,
    reference: Scorer,
    data: PairData,
    rows: Sequence[int],
    epochs: float,
    seed: int,
    report: Callable[[Mapping[str, Any]], None],
) -> Trained:
    """Train a copy of the reference on some of the pairs. Raises PrefbenchError when its loss diverges."""
    seed = stream_seed(seed, "column")
    job = TrainJob(
        scorer=fresh_policy(reference, training.lora, seed),
        data=data.take(rows),
        objective=training.objective(),
        scheduler=Uniform(),
        rules=training.rules_for(len(rows), epochs),
        learning_rate=training.learning_rate,
        seed=seed,
        report=report,
        reference=reference,
    )
    try:
        train(job, Clocks())
    except DivergedError as error:
        hint = "lower the learning rate of the method"
        raise PrefbenchError(f"a policy trained for a column diverged: {error}", hint, exit_code=1) from None
    return Trained(dataclasses.replace(job, data=data))
