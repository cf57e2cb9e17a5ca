"""The loop that any objective and any scheduler runs through: pool, score, select, forward, objective, backward, update, log."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from prefbench.api import PairBatch, Pool, Scheduler
from prefbench.config import TrainRules
from prefbench.streams import stream, stream_seed
from prefbench.train.checked import checked_losses, checked_order, checked_selection
from prefbench.train.job import TrainJob, gather, pair_batch, pair_micro_batches
from prefbench.train.log import StepLog
from prefbench.train.meter import Clocks


class DivergedError(Exception):
    """The mean loss was no number, or larger than the track allows."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"the loss was {loss:g} at step {step}")
        self.step, self.loss = step, loss


def train(job: TrainJob, clocks: Clocks) -> StepLog:
    """Train ``job``'s policy for the track's steps. Raises DivergedError, and PrefbenchError when a plugin breaks its contract."""
    rules, model = job.rules, job.scorer.model
    model.train()
    # Plain AdamW: weight decay 0 by default, because the reference column already says how far the policy may go.
    optimiser = torch.optim.AdamW(model.parameters(), lr=job.learning_rate, weight_decay=rules.weight_decay, fused=True)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, rules))
    select_rng = stream(job.seed, "select", job.scheduler.name)
    update_rng = torch.Generator().manual_seed(stream_seed(job.seed, "update"))
    size = selected_size(job.scheduler, rules.pool)
    log = StepLog.for_pairs(job.data.tokens)
    pools = draw_pools(job)
    previous: tuple[Pool, np.ndarray] | None = None

    for step in range(rules.steps):
        # ---------------------------------------------------------------- pool: n pairs, scored without gradient where the scheduler asks
        progress = step / max(1, rules.steps - 1)
        ids = next(pools)
        pool = score_pool(job, ids, progress, update_rng, log, clocks)

        # ---------------------------------------------------------------- select: K of n, after the scheduler saw how the last choice turned out
        with clocks.time("select"):
            if previous is not None:
                job.scheduler.observe(*previous, pool)
            chosen = checked_selection(job.scheduler, job.scheduler.select(pool, size, select_rng), size, len(pool))
            previous = (pool, chosen)
        picked = ids[chosen]

        with clocks.time("train"):
            # ------------------------------------------------------------ forward, objective, backward: gradients of the mean loss of the K pairs
            optimiser.zero_grad(set_to_none=True)
            batch, loss, pulls = accumulate_gradients(job, picked, progress, update_rng)

            # ------------------------------------------------------------ update
            torch.nn.utils.clip_grad_norm_(model.parameters(), rules.clip)
            optimiser.step()
            decay.step()

        # ---------------------------------------------------------------- log: kept on the device, read every few steps
        log.add(step, picked, batch, loss, pulls)
        if log.due(step, rules.steps):
            report_progress(job, log, step)

    model.eval()
    return log


def accumulate_gradients(
    job: TrainJob, ids: np.ndarray, progress: float, rng: torch.Generator
) -> tuple[PairBatch, torch.Tensor, torch.Tensor]:
    """Add the gradient of the pairs' mean loss to the policy's; the batch, the loss, and the loss's gradient by log-prob, shape (2K,).

    The log-probs of all micro-batches are leaves of one batch, so that an objective that couples pairs sees all of them at once; the leaves'
    gradient is then passed back through each micro-batch's graph.
    """
    graphs = [(micro, job.scorer.sequence_log_probs(micro)) for micro in pair_micro_batches(job, ids)]
    leaves = gather(graphs, 2 * len(ids)).requires_grad_()
    batch = pair_batch(job, ids, leaves, progress, rng)
    job.objective.update(pair_batch(job, ids, leaves.detach(), progress, rng))
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


def draw_pools(job: TrainJob) -> Iterator[np.ndarray]:
    """Row numbers of n pairs at a time: shuffled epochs that depend on the seed alone, or the scheduler's own order again and again."""
    count, n = len(job.data), min(job.rules.pool, len(job.data))
    prepared = job.scheduler.prepare(job.data.columns, count, stream(job.seed, "prepare", job.scheduler.name))
    shuffle = stream(job.seed, "data")
    waiting = np.empty(0, dtype=np.int64)
    while True:
        while len(waiting) < n:
            # A pool that spans two epochs may hold a pair twice only if an epoch is shorter than a pool, which n <= N excludes.
            epoch = shuffle.permutation(count) if prepared is None else checked_order(job.scheduler, prepared, n, count)
            waiting = np.concatenate([waiting, epoch])
        yield waiting[:n]
        waiting = waiting[n:]


def score_pool(job: TrainJob, ids: np.ndarray, progress: float, rng: torch.Generator, log: StepLog, clocks: Clocks) -> Pool:
    """The pool as the scheduler sees it; its statistics cost one forward without gradient, and nothing when it wants none."""
    columns = {name: job.data.columns[name][ids] for name in job.scheduler.needs}
    statistics: dict[str, np.ndarray] = {}
    if job.scheduler.wants:
        with clocks.time("select"), torch.no_grad():
            leaves = gather([(batch, job.scorer.sequence_log_probs(batch)) for batch in pair_micro_batches(job, ids)], 2 * len(ids))
            batch = pair_batch(job, ids, leaves, progress, rng)
            values = {
                "loss": lambda: checked_losses(job.objective, job.objective.per_pair(batch), len(ids)),
                "margin": lambda: batch.margin,
                "chosen_log_prob": lambda: batch.policy_chosen,
            }
            statistics = {name: values[name]().double().cpu().numpy() for name in job.scheduler.wants}
            log.pairs_forward += len(ids)
    return Pool(ids, columns, statistics, progress)


def report_progress(job: TrainJob, log: StepLog, step: int) -> None:
    """Read the log's last steps from the device, stop at a loss that is no number or out of bounds, and tell the display."""
    for at, value in log.read():
        if not abs(value) <= job.rules.loss_bound:
            raise DivergedError(at, value)
    job.report({"step": step + 1, "steps": job.rules.steps, "loss": log.rows[-1]["loss"], "pairs": log.pairs_backward})
