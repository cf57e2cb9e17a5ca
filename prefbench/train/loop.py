"""The loop that any objective and any scheduler runs through: pool, score, select, forward, objective, backward, update, log."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from prefbench.api import PairBatch
from prefbench.config import TrainRules
from prefbench.engine.tasks import TaskStoppedError
from prefbench.train.ahead import Ahead
from prefbench.train.checked import checked_losses
from prefbench.train.compiled import compile_layers
from prefbench.train.graphs import Graph, gather, graphs_of, narrowed, pull
from prefbench.train.job import KEPT, TrainJob, mismatched_log_ratios, pair_batch, pair_micro_batches
from prefbench.train.log import StepLog
from prefbench.train.meter import Clocks
from prefbench.train.recompute import recompute_layers
from prefbench.train.selection import choose, rehearse, score_pool, selected_size
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
    if rules.gradient_checkpointing:
        recompute_layers(model)
    if job.compiled:
        compile_layers(model)
    size = selected_size(job.scheduler, job.pool)
    trains_on_all = size == job.pool and job.selection != KEPT
    state, ahead = LoopState.fresh(job, clocks), Ahead(job)
    if not (job.checkpoint and job.checkpoint.resume(state)):
        rehearse(state, size)

    for step in range(state.step, rules.steps):
        # ---------------------------------------------------------------- pool: n pairs, scored where the scheduler asks for it
        ids = state.next_pool()
        pool, graphs = score_pool(state, ids, step)

        # ---------------------------------------------------------------- select: K of n, after the scheduler saw how the last choice turned out
        chosen = choose(state, pool, size)
        picked, divisor = ids[chosen], len(ids) if job.scheduler.divisor == "offered" else size

        with clocks.time("train"):
            # ------------------------------------------------------------ forward of the K pairs, or what of the pool's leads to them
            with clocks.part("data"):
                micros = [] if graphs else ahead.take(picked)
                ahead.begin(state.upcoming() if trains_on_all else None)
            with clocks.part("forward"):
                if graphs:
                    graphs = narrowed(graphs, chosen, len(ids))
                else:
                    graphs = graphs_of(job, micros)
                    state.log.pairs_forward += size

            # ------------------------------------------------------------ objective, backward: gradients of the mean loss of the K pairs
            with clocks.part("backward"):
                state.optimiser.zero_grad(set_to_none=True)
                batch, losses, pulls = accumulate_gradients(job, picked, step, graphs, divisor)
                del graphs, micros  # nothing of this step's forward is alive during the next one's

            # ------------------------------------------------------------ update
            with clocks.part("optimiser"):
                torch.nn.utils.clip_grad_norm_(model.parameters(), rules.clip)
                for group in state.optimiser.param_groups:
                    group["lr"] = job.learning_rate * learning_rate_factor(step, rules)
                state.optimiser.step()

        # ---------------------------------------------------------------- log: kept on the device, read every few steps
        state.log.add(step, picked, batch, losses, pulls)
        state.seen.remember_trained(picked, batch, losses)
        state.log.note(ids, diagnostics(job))
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
    """Read the log's last steps from the device, and stop at a loss that is no number or out of bounds.

    The track's bound is for losses that start near 1: one that starts higher, as SPPO's does at 1 / (2 beta^2), has as much more room.
    """
    for at, value in state.log.read():
        first = abs(state.log.rows[0]["loss"])
        if not (math.isfinite(value) and abs(value) <= state.job.rules.loss_bound * max(1.0, first)):
            raise DivergedError(at, value)


def accumulate_gradients(
    job: TrainJob, ids: np.ndarray, step: int, graphs: list[Graph] | None = None, divisor: int | None = None
) -> tuple[PairBatch, torch.Tensor, torch.Tensor]:
    """Add the gradient of the pairs' mean loss to the policy's; the batch, the losses (K,), and the mean's gradient by sequence, shape (2K, S).

    With a ``divisor`` other than K the gradient is that of the summed loss over it. ``graphs`` lead to the numbers of the pairs' sequences,
    log-probs first; without them a forward is run.

    The numbers of all sequences are leaves of one batch, so that an objective that couples pairs sees all of them at once; the leaves' gradient is
    then passed back through each micro-batch's graph, which was kept or is made again, as the track says.
    """
    graphs = graphs or graphs_of(job, pair_micro_batches(job, ids))
    leaves = gather(graphs, 2 * len(ids)).requires_grad_()
    mismatched = mismatched_log_ratios(job, ids)
    batch = pair_batch(job, ids, leaves, step, mismatched)
    job.objective.update(pair_batch(job, ids, leaves.detach(), step, mismatched))
    losses = checked_losses(job.objective, job.objective.per_pair(batch), len(ids))
    (pulls,) = torch.autograd.grad(losses.mean() if divisor in (None, len(ids)) else losses.sum() / divisor, leaves)
    pull(graphs, pulls)
    return batch, losses.detach(), pulls


def learning_rate_factor(step: int, rules: TrainRules) -> float:
    """Linear warm-up to 1, then the track's decay to 0 at the last step."""
    if step < rules.warmup:
        return (step + 1) / rules.warmup
    left = 1 - (step - rules.warmup) / max(1, rules.steps - rules.warmup)
    return {"cosine": 0.5 * (1 - math.cos(math.pi * left)), "linear": left, "constant": 1.0}[rules.schedule]


def diagnostics(job: TrainJob) -> dict[str, float]:
    """What objective and scheduler tell of the step, by ``objective.NAME`` and ``scheduler.NAME``."""
    told = {"objective": job.objective.diagnostics(), "scheduler": job.scheduler.diagnostics()}
    return {f"{who}.{name}": float(value) for who, numbers in told.items() for name, value in numbers.items()}
