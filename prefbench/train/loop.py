"""The loop that any objective and any scheduler runs through: pool, score, select, forward, objective, backward, update, log."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from prefbench.api import PairBatch, Pool, Scheduler
from prefbench.config import TrainRules
from prefbench.engine.tasks import TaskStoppedError
from prefbench.train.checked import checked_losses, checked_selection
from prefbench.train.job import TrainJob, gather, pair_batch, pair_micro_batches
from prefbench.train.log import StepLog
from prefbench.train.meter import Clocks
from prefbench.train.state import LoopState


class DivergedError(Exception):
    """The mean loss was no number, or larger than the track allows."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"the loss was {loss:g} at step {step}")
        self.step, self.loss = step, loss


def train(job: TrainJob, clocks: Clocks) -> StepLog:
    """Train ``job``'s policy for the track's steps, from its checkpoint where there is one.

    Raises DivergedError, PrefbenchError when a plugin breaks its contract, and TaskStoppedError, after a checkpoint, when the run is to end.
    """
    rules, model = job.rules, job.scorer.model
    model.train()
    size = selected_size(job.scheduler, rules.pool)
    state = LoopState.fresh(job, clocks)
    if job.checkpoint:
        job.checkpoint.resume(state)

    for step in range(state.step, rules.steps):
        # ---------------------------------------------------------------- pool: n pairs, scored without gradient where the scheduler asks
        ids = next(state.pools)
        pool = score_pool(job, ids, step, state)

        # ---------------------------------------------------------------- select: K of n, after the scheduler saw how the last choice turned out
        with clocks.time("select"):
            if state.previous is not None:
                job.scheduler.observe(*state.previous, pool)
            chosen = checked_selection(job.scheduler, job.scheduler.select(pool, size, state.select_rng), size, len(pool))
            state.previous = (pool, chosen)
        picked = ids[chosen]

        with clocks.time("train"):
            # ------------------------------------------------------------ forward, objective, backward: gradients of the mean loss of the K pairs
            state.optimiser.zero_grad(set_to_none=True)
            batch, loss, pulls = accumulate_gradients(job, picked, step)

            # ------------------------------------------------------------ update
            torch.nn.utils.clip_grad_norm_(model.parameters(), rules.clip)
            for group in state.optimiser.param_groups:
                group["lr"] = job.learning_rate * learning_rate_factor(step, rules)
            state.optimiser.step()

        # ---------------------------------------------------------------- log: kept on the device, read every few steps
        state.log.add(step, picked, batch, loss, pulls)
        state.step = step + 1
        tell_and_keep(state, reading=state.log.due(step, rules.steps))

    model.eval()
    return state.log


def tell_and_keep(state: LoopState, reading: bool) -> None:
    """Tell the display where the run is, and write a checkpoint: where one is due, and before the run ends because it was told to."""
    job = state.job
    if reading:
        read_log(state)
    try:
        job.report(progress_of(state) if reading else {})
    except TaskStoppedError:
        write_checkpoint(state)
        raise
    if job.checkpoint and job.checkpoint.due():
        write_checkpoint(state)


def progress_of(state: LoopState) -> dict[str, Any]:
    """Of the steps that were read from the device."""
    return {"step": state.step, "steps": state.job.rules.steps, "loss": state.log.rows[-1]["loss"], "pairs": state.log.pairs_backward}


def write_checkpoint(state: LoopState) -> None:
    """Write it, unless the steps since the last reading of the log turn out to have diverged: that is the run's end, not a place to go on."""
    if state.job.checkpoint:
        read_log(state)
        state.job.checkpoint.write(state)


def read_log(state: LoopState) -> None:
    """Read the log's last steps from the device, and stop at a loss that is no number or out of bounds."""
    for at, value in state.log.read():
        if not abs(value) <= state.job.rules.loss_bound:
            raise DivergedError(at, value)


def accumulate_gradients(job: TrainJob, ids: np.ndarray, step: int) -> tuple[PairBatch, torch.Tensor, torch.Tensor]:
    """Add the gradient of the pairs' mean loss to the policy's; the batch, the loss, and the loss's gradient by log-prob, shape (2K,).

    The log-probs of all micro-batches are leaves of one batch, so that an objective that couples pairs sees all of them at once; the leaves'
    gradient is then passed back through each micro-batch's graph.
    """
    graphs = [(micro, job.scorer.sequence_log_probs(micro)) for micro in pair_micro_batches(job, ids)]
    leaves = gather(graphs, 2 * len(ids)).requires_grad_()
    batch = pair_batch(job, ids, leaves, step)
    job.objective.update(pair_batch(job, ids, leaves.detach(), step))
    loss = checked_losses(job.objective, job.objective.per_pair(batch), len(ids)).mean()
    (pulls,) = torch.autograd.grad(loss, leaves)
    torch.autograd.backward([sums for _, sums in graphs], [pulls[micro.rows] for micro, _ in graphs])
    return batch, loss.detach(), pulls


def learning_rate_factor(step: int, rules: TrainRules) -> float:
    """Linear warm-up to 1, then the track's decay to 0 at the last step."""
    if step < rules.warmup:
        return (step + 1) / rules.warmup
    left = 1 - (step - rules.warmup) / max(1, rules.steps - rules.warmup)
    return {"cosine": 0.5 * (1 - math.cos(math.pi * left)), "linear": left, "constant": 1.0}[rules.schedule]


def selected_size(scheduler: Scheduler, pool: int) -> int:
    """K: the pairs of a pool of n that are trained on."""
    return max(1, min(pool, round(scheduler.ratio * pool)))


def score_pool(job: TrainJob, ids: np.ndarray, step: int, state: LoopState) -> Pool:
    """The pool as the scheduler sees it; its statistics cost one forward without gradient, and nothing when it wants none."""
    columns = {name: job.data.columns[name][ids] for name in job.scheduler.needs}
    statistics: dict[str, np.ndarray] = {}
    if job.scheduler.wants:
        with state.clocks.time("select"), torch.no_grad():
            leaves = gather([(batch, job.scorer.sequence_log_probs(batch)) for batch in pair_micro_batches(job, ids)], 2 * len(ids))
            batch = pair_batch(job, ids, leaves, step)
            values = {
                "loss": lambda: checked_losses(job.objective, job.objective.per_pair(batch), len(ids)),
                "margin": lambda: batch.margin,
                "chosen_log_prob": lambda: batch.policy_chosen,
            }
            statistics = {name: values[name]().double().cpu().numpy() for name in job.scheduler.wants}
            state.log.pairs_forward += len(ids)
    return Pool(ids, columns, statistics, job.progress(step))
